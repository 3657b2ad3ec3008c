"""What of the collaborative filter is worth searching; it depends on the method.

The one idea: a field that is a list for the trainer to choose from gets one value at a
time here, so a trial costs one fit and the search sees what each value does.
"""

from collections.abc import Mapping

from models.cf.config import Config
from models.space import Between, Space

_HALF_LIFE: Mapping[str, Space] = {"half_life_days": Between(7, 1000, log=True)}
_FACTORS: Mapping[str, Space] = {"factors": Between(16, 256, log=True)}
_BY_METHOD: Mapping[str, Mapping[str, Space]] = {
    "ease": {
        "regularisations": Between(10, 5000, log=True),
        "user_powers": Between(-1, 0),
        "top_weights": Between(32, 512, log=True),
    },
    "knn": {
        "companions": Between(20, 1000, log=True),
        "shrinkage": Between(1, 300, log=True),
        "normalisations": Between(0, 1),
        "user_powers": Between(-1, 0),
    },
    "als": {
        **_FACTORS,
        "als_regularisations": Between(0.3, 100, log=True),
        "confidences": Between(1, 100, log=True),
        "als_rounds": Between(5, 30),
    },
    "bpr": {
        **_FACTORS,
        "bpr_rate": Between(0.005, 0.2, log=True),
        "bpr_regularisations": Between(0.0003, 0.1, log=True),
        "bpr_rounds": Between(20, 200, log=True),
    },
}


def space(config: Config) -> Mapping[str, Space]:
    """Return field -> space for the configuration's method."""
    return {**_BY_METHOD[config.method], **_HALF_LIFE}
