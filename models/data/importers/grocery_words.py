"""Cash-register abbreviations to words a person can read.

Register texts are capitals, cut off at a fixed width and full of abbreviations
("SFT DRNK 2 LITER BTL CARB INCL"). Readable words matter twice: shoppers see
the title, and the text model knows "frozen", not "FRZN".
"""

import re
from collections.abc import Iterable

_WORDS = {
    "ACCES": "accessories", "ACCESS": "accessories", "ACCSS": "accessories",
    "BEERALEMALT": "beer, ale and malt", "BEV": "beverage", "BG": "bag",
    "BKD": "baked", "BN": "bean",
    "BNDGES": "bandages", "BRD": "bread", "BRKFST": "breakfast", "BTL": "bottle", "BTR": "butter",
    "CARB": "carbonated", "CATFD": "cat food", "CHIX": "chicken",
    "CHS": "cheese", "CIG": "cigarette",
    "CKE": "cake", "CKTLS": "cocktails", "CKYS": "cookies", "CLEANG": "cleaning", "CND": "canned",
    "CNDLES": "candles", "CNDY": "candy", "CNTRL": "control", "COFF": "coffee",
    "CONC": "concentrate", "CRBNTD": "carbonated", "CRKR": "crackers", "CRMD": "creamed",
    "CRYSTL": "crystal", "DEOD": "deodorant", "DEPT": "department", "DISPOSIBLE": "disposable",
    "DNR": "dinner", "DNRS": "dinners", "DOGFD": "dog food", "DRNK": "drink", "DRNKS": "drinks",
    "DRNKNG": "drinking", "DRNKING": "drinking", "DRSNG": "dressing", "DSH": "dish", "EX": "except",
    "EXC": "except", "EXCP": "except", "EXCE": "except", "FD": "food", "FDS": "foods",
    "FEM": "feminine", "FLAV": "flavored", "FLV": "flavored", "FLVR": "flavored",
    "FLVRD": "flavored", "FRD": "fried", "FRE": "fresh", "FRZ": "frozen", "FRZN": "frozen",
    "GDS": "goods", "GRND": "ground", "HNGRS": "hangers", "HYGN": "hygiene", "INCL": "included",
    "INGRED": "ingredients", "IQF": "individually frozen", "IWS": "individually wrapped slices",
    "JCE": "juice", "JHOOK": "hook", "KLR": "killer", "LBS": "pounds", "LIQ": "liquid",
    "LIQS": "liquids", "LNCHMT": "lunch meat", "LOZNG": "lozenge", "LSS": "less",
    "LUNCHMEAT": "lunch meat", "MACH": "machine", "MERCH": "merchandise", "MFG": "manufacturer",
    "MISC": "miscellaneous", "MIXS": "mixes", "MLK": "milk", "MLT": "multi", "MNRL": "mineral",
    "MW": "microwave", "MX": "mix", "MXS": "mixes", "NATRL": "natural", "OCCAS": "occasion",
    "OJ": "orange juice", "ORGNZRS": "organizers", "PC": "piece", "PCKGD": "packaged",
    "PICKLD": "pickled", "PICKLS": "pickles", "PK": "pack", "PKG": "package", "PKGD": "packaged",
    "PKLD": "pickled", "PLSTC": "plastic", "PNCH": "punch", "PNT": "peanut", "PPK": "pre-packed",
    "PREM": "premium", "PREPORTND": "pre-portioned", "PRESLCD": "pre-sliced",
    "PRPCK": "pre-packed", "PRSLC": "pre-sliced", "PWDR": "powder", "PWDRS": "powders",
    "QSR": "quick service", "REFRGRATD": "refrigerated", "REFRIG": "refrigerated",
    "REFIGERATED": "refrigerated", "REG": "regular", "RETL": "retail", "RTD": "ready to drink",
    "RTS": "ready to serve", "SAL": "salad", "SALD": "salad", "SAUS": "sausage", "SGL": "single",
    "SFT": "soft", "SHERBTS": "sherbets", "SHLFSH": "shellfish", "SHRED": "shredded",
    "SLD": "salad", "SMI": "semi", "SNDWCH": "sandwich", "SNGL": "single", "SNKS": "snacks",
    "SPEC": "special", "SPLY": "supply", "SPRD": "spread", "SRV": "serve", "SS": "single serve",
    "STK": "stick", "STRP": "strip", "STW": "stew", "SUP": "super", "SUPP": "supplement",
    "SUPPPLIES": "supplies", "SV": "serve", "SW": "sweet", "SWEETNERS": "sweeteners",
    "SWT": "sweet", "SYRP": "syrup", "THN": "than", "TISS": "tissue", "TN": "Tennessee",
    "TOMS": "toms", "TORT": "tortilla", "TRSH": "trash", "VAC": "vacuum", "VEG": "vegetable",
    "VEND": "vending", "WAT": "water", "WHL": "whole", "WHLSM": "wholesome", "WT": "weight",
    "WTR": "water", "XMAS": "Christmas", "XPCTRNT": "expectorant", "CHICK": "chicken",
    "CHRISTMAS": "Christmas", "DL": "deli", "DPS": "dips", "EASTER": "Easter", "FRENCH": "French",
    "GM": "general merchandise", "HALLOWEEN": "Halloween", "HANDKE": "handkerchiefs",
    "HISPANIC": "Hispanic", "ITALIAN": "Italian", "JAPANESE": "Japanese", "MEXICAN": "Mexican",
    "MNERAL": "mineral", "MULT": "multi", "RW": "random weight", "VALENTINE": "Valentine",
}  # fmt: skip
# Kept as they are: initials.
_CAPITALS = {"BBQ", "CD", "DVD", "DXM", "HBC", "NZ", "OTC", "TV", "USA"}
REGISTER_WIDTH = 29  # 30 characters, of which the last may be a blank


def vocabulary(texts: Iterable[str]) -> frozenset[str]:
    """Return the words of the texts that are not cut off."""
    whole = (text for text in texts if len(text) < REGISTER_WIDTH)
    return frozenset(word for text in whole for word in re.findall(r"[A-Z0-9%]+", text))


def readable(text: str, known: frozenset[str]) -> str:
    """Return a register text as a sentence: uncut, words for abbreviations, small letters.

    `known` are words seen in texts that were not cut off: a last word not among
    them is taken for a fragment and dropped.
    """
    text = _whole_part(text.strip(), known)
    text = re.sub(r"(?<=[A-Z])\.", " ", text)
    text = re.sub(r"\bW/", " with ", re.sub(r"\bN/", " no ", text))
    text = re.sub(r"(?<=\w)\(", " (", text)
    text = re.sub(r"\s*&\s*", " & ", re.sub(r"\s*:\s*", ": ", text))
    text = re.sub(r"(?<=\d)PK\b", " PK", text)
    words = re.sub(r"[A-Z]+", lambda m: _word(m.group()), text)
    words = re.sub(r"\s+", " ", words).strip(" -:/&,.(")
    return words[:1].upper() + words[1:]


def readable_size(size: str) -> str:
    """Return a package size in small letters, without stock numbers or filling.

    >>> readable_size("L    16 OZ")
    '16 oz'
    """
    size = re.sub(r"^(\d{5,}|[LN])\s+", "", re.sub(r"\s+", " ", size.strip()))
    size = re.sub(r"^\.(?=\d)", "0.", size)
    size = re.sub(r"\bGA\b", "GAL", re.sub(r"\bDZ\b", "DOZ", size))
    return size.lower() if re.search(r"\d", size) else ""


def is_crate(size: str) -> bool:
    """Say whether a readable size is what the shop receives, not what a shopper takes.

    >>> is_crate("40 lb"), is_crate("48-54 ct"), is_crate("16 oz")
    (True, True, False)
    """
    found = re.match(r"(\d+)\b.*\b(lb|ct)\b", size)
    return found is not None and int(found.group(1)) > 10


def _whole_part(text: str, known: frozenset[str]) -> str:
    if len(text) < REGISTER_WIDTH:
        return text
    opened = text.rfind("(")
    if opened > text.rfind(")"):
        return text[:opened]
    last = re.search(r"[^A-Z0-9%]+([A-Z0-9%]*)$", text)
    if last is not None and (len(last.group(1)) < 3 or last.group(1) not in known):
        return text[: last.start()]
    return text


def _word(word: str) -> str:
    return word if word in _CAPITALS else _WORDS.get(word, word.lower())
