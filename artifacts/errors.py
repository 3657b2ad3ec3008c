"""Why an artifact cannot be used.

ArtifactError
 ├── ArtifactMissing     no such source or version in the repository
 ├── ArtifactCorrupt     files, manifest and ONNX graph disagree
 ├── NoRoom              the disk has no room to write it, or to read it
 ├── CatalogueMismatch   the item keys are not those the manifest was made for
 └── SampleMismatch      replaying a sample request gave another answer
Every message names the file and says what to do.
"""


class ArtifactError(Exception):
    """An artifact cannot be used; the message names the file and the remedy."""


class ArtifactMissing(ArtifactError):
    """The repository has no such source or version."""


class ArtifactCorrupt(ArtifactError):
    """Files, manifest and ONNX graph disagree."""


class NoRoom(ArtifactError):
    """The disk has no room to write it, or to read it: it says nothing of the artifact."""


class CatalogueMismatch(ArtifactError):
    """The item keys are not those the manifest was made for."""


class SampleMismatch(ArtifactError):
    """A replayed sample request gave another answer than the one recorded."""
