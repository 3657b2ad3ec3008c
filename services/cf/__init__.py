"""The collaborative filtering service: what people who took these took besides."""
