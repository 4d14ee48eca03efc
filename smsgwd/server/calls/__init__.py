"""The calls of the API, one module for each family: who may, what is asked, what is answered."""
