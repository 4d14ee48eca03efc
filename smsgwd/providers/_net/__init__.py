"""What every provider over TCP needs: the addresses of a host, and TLS as the files configure it."""
