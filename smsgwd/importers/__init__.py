"""Takes over the configurations of other systems: one module for each, and `files`, which writes what they make."""
