"""An item as search sees it: the text that is embedded, and the fields that are indexed."""

import json
from collections.abc import Mapping

import polars as pl

from artifacts.item_text import item_text, split_description


def item_texts(items: pl.DataFrame) -> list[str]:
    """Return the text by which each item is embedded, in the order of the frame."""
    columns = ("title", "brand", "category", "domain", "text")
    return [item_text(*row) for row in items.select(columns).iter_rows()]


def document(item: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of an item for the lexical index; details are all that is left."""
    fields = {name: item[name] for name in ("title", "brand", "category", "domain")}
    fields["text"], rest = split_description(item["text"])
    fields["details"] = f"{rest} {attribute_words(item['attributes'])}"
    return fields


def attribute_words(attributes: str) -> str:
    """Turn a JSON object into words: "6 OZ" for {"size": "6 OZ"}, "organic" for yes, "" for no."""
    words = []
    for name, value in json.loads(attributes or "{}").items():
        text = str(value)
        if text.casefold() in {"yes", "true"}:
            words.append(name)
        elif text.casefold() not in {"no", "false", ""}:
            words.append(f"{name} {text}")
    return " ".join(words)
