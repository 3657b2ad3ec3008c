import pytest

from models.data.importers.grocery_words import is_crate, readable, readable_size, vocabulary

KNOWN = vocabulary(["FRZN BOXED VEGETABLES - PLAIN", "PURE", "JUICE", "SOFT DRINKS", "CAN"])


@pytest.mark.parametrize(
    ("register", "words"),
    [
        ("YOGURT NOT MULTI-PACKS", "Yogurt not multi-packs"),
        ("SFT DRNK 2 LITER BTL CARB", "Soft drink 2 liter bottle carbonated"),
        ("CANDY BARS (SINGLES)(INCLUDING", "Candy bars (singles)"),
        ("DAIRY CASE 100% PURE JUICE - O", "Dairy case 100% pure juice"),
        ("SOFT DRINKS 12/18&15PK CAN CAR", "Soft drinks 12/18 & 15 pack can"),
        ("FRZN SS PREMIUM ENTREES/DNRS/N", "Frozen single serve premium entrees/dinners"),
        ("MISC. DAIRY", "Miscellaneous dairy"),
        ("BEANS W/PORK", "Beans with pork"),
        ("COLD AND FLU - DXM", "Cold and flu - DXM"),
        ("", ""),
    ],
)
def test_register_texts_become_words(register: str, words: str) -> None:
    assert readable(register, KNOWN) == words


@pytest.mark.parametrize(
    ("register", "size"),
    [
        ("16 OZ", "16 oz"),
        ("L    16 OZ", "16 oz"),
        ("972406  PK", ""),
        (".25 OZ", "0.25 oz"),
        ("1 GA", "1 gal"),
        ("XLRG", ""),
    ],
)
def test_sizes_lose_stock_numbers_and_filling(register: str, size: str) -> None:
    assert readable_size(register) == size


def test_a_crate_is_no_package() -> None:
    assert is_crate("40 lb")
    assert is_crate("48-54 ct")
    assert not is_crate("16 oz")
    assert not is_crate("5 lb")
