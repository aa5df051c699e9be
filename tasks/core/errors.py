"""Every error birdwalk raises, in one tree.

BirdwalkError
├── InvalidInput            a parameter that cannot work: UnknownImage, UnreadablePicture,
│                           UnknownIndex, EmptyIndex, InvalidIndexName, RunIsOver
├── StorageError            the bucket: BucketNotFound, BucketForbidden, NothingToEmbed
├── EmbeddingError          the model's answer to one image
│   ├── ImageRefused        will not change by asking again
│   ├── ImageGone           the object vanished after it was listed
│   ├── ImageOverwritten    the answer is about another version than the one listed
│   ├── QuotaExceeded       slow down and ask again; never counts as a failed attempt
│   ├── TransientFailure    may change by asking again
│   │   └── ImageReadDeadline   the model timed out reading the gs:// address
│   ├── UnexplainedFailure  neither of these; the run stops when several come in a row
│   └── SystemicFailure     every image would get it: the run stops at once
├── DatabaseError           Postgres
│   ├── DatabaseUnavailable     unreachable, or the connection was lost
│   ├── ExtensionMissing        pgvector is not there, or too old
│   ├── LockTimeout             another session held a lock for too long
│   ├── SpaceBusy               another run holds the space, or this one is over
│   └── IndexNameTaken          the view's name belongs to something else
├── PrefectUnavailable      Prefect's server cannot be reached
├── ArtifactError           a file could not be written or read back
│   └── PartInUse               another process writes it
├── GuardStopped            the plan passes a limit that nobody lifted
├── TooManyRefusals         more images were refused than max_refusals allows
├── TooManyLeftovers        more images are left for the next run than max_leftovers allows
├── GateFailed              the verification found the index wrong
├── IndexDrifted            the index is not as its bucket is, or does not answer as it should
└── StackError              a server of the local stack could not start or stop

Messages name the thing, say what was expected, and what to do.
"""


class BirdwalkError(Exception):
    """Anything birdwalk reports to its user on purpose."""


class InvalidInput(BirdwalkError):
    """A parameter or setting that cannot work."""


class UnknownImage(InvalidInput):
    """The image asked for is not in the index."""


class UnreadablePicture(InvalidInput):
    """The picture to ask with cannot be read, or is of a format that the model does not read."""


class UnknownIndex(InvalidInput):
    """There is no such index, or nothing of it has been published yet."""


class EmptyIndex(InvalidInput):
    """The index holds no image."""


class InvalidIndexName(InvalidInput):
    """The index's name cannot be a Postgres view name."""


class RunIsOver(InvalidInput):
    """A shard is of a run that ended, or never was."""


class StorageError(BirdwalkError):
    """Cloud Storage did not give what was asked."""


class BucketNotFound(StorageError):
    """There is no such bucket."""


class BucketForbidden(StorageError):
    """The caller may not list or read the bucket."""


class NothingToEmbed(StorageError):
    """The bucket or prefix holds no image at all."""


class EmbeddingError(BirdwalkError):
    """The model's answer to one image was not a vector."""


class ImageRefused(EmbeddingError):
    """The model will never accept this object version."""


class ImageGone(EmbeddingError):
    """The object vanished between listing and call."""


class ImageOverwritten(EmbeddingError):
    """The object was overwritten between listing and call."""


class QuotaExceeded(EmbeddingError):
    """The model asks for a slower pace (429).

    Attributes:
        retry_after: seconds the server asked to wait, or None when it did not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TransientFailure(EmbeddingError):
    """An answer that may be different next time."""


class ImageReadDeadline(TransientFailure):
    """The model timed out reading the image by its gs:// address."""


class UnexplainedFailure(EmbeddingError):
    """An answer that is neither about the image nor certain to come again."""


class SystemicFailure(EmbeddingError):
    """An answer that every image of the run would get."""


class DatabaseError(BirdwalkError):
    """Postgres did not do what was asked."""


class DatabaseUnavailable(DatabaseError):
    """Postgres cannot be reached, or the connection was lost."""


class ExtensionMissing(DatabaseError):
    """The vector extension is missing or too old."""


class LockTimeout(DatabaseError):
    """Another session held a lock for too long."""


class SpaceBusy(DatabaseError):
    """Another run holds the space, or the one that asks is over."""


class IndexNameTaken(DatabaseError):
    """A relation that birdwalk did not make has the index's name."""


class PrefectUnavailable(BirdwalkError):
    """Prefect's server cannot be reached."""


class ArtifactError(BirdwalkError):
    """A file could not be written, or does not read back."""


class PartInUse(ArtifactError):
    """Another process writes this batch's CSV part."""


class GuardStopped(BirdwalkError):
    """The plan passes a limit that no parameter lifted; nothing was called or deleted."""


class TooManyRefusals(BirdwalkError):
    """A larger share of the bucket was refused than max_refusals allows."""


class TooManyLeftovers(BirdwalkError):
    """A larger share of the bucket is left for the next run than max_leftovers allows."""


class GateFailed(BirdwalkError):
    """The verification found the index wrong."""


class IndexDrifted(BirdwalkError):
    """The index is not as its bucket is, or does not answer as it should."""
