"""The daemon's side of the socket: HTTP/1.1, JSON in and out."""
