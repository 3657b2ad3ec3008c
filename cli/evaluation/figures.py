"""Numbers as tables print them."""


def short(value: float) -> str:
    """Return a number below 1 without its zero, to four places."""
    text = f"{value:.4f}"
    return text[1:] if text.startswith("0.") else text
