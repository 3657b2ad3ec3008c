"""What tests of several parts share: tiny real artifacts, servers and processes."""
