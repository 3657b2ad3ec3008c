"""Admission: how much is worked on at once, who waits, and who is refused at once."""
