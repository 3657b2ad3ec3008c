"""Why data cannot be used.

DataError
 ├── DatasetError   a dataset directory is missing, incomplete or of the wrong shape
 ├── SourceError    a file to import cannot be read as its format says
 ├── SplitError     a protocol does not fit the data
 ├── OptionError    a model has no such setting, or not with such a value
 └── EncoderMissing, PackedCorrupt (models/text)   what texts are read with is not there, or not it
Every message names the file, column or line and says what to do.
"""


class DataError(Exception):
    """Data cannot be used; the message names the place and the remedy."""


class DatasetError(DataError):
    """A dataset directory is missing, incomplete or of the wrong shape."""


class SourceError(DataError):
    """A file to import cannot be read as its format says."""


class SplitError(DataError):
    """An evaluation protocol does not fit the data."""


class OptionError(DataError):
    """A model has no such setting, or not with such a value."""
