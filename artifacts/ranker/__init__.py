"""The learned ranker: what it looks at, how it scores, and its files; shared by both sides."""
