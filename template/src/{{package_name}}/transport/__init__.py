"""What calls in: HTTP and the command line."""
