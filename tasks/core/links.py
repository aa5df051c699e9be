"""Addresses at which a browser shows an object of a bucket."""

from urllib.parse import quote

from tasks.core.settings import Settings

CONSOLE = "https://console.cloud.google.com/storage/browser/_details"


def object_link(settings: Settings, bucket: str, name: str) -> str:
    """Return the https address of an object's page in Google's console, or of its bytes.

    The bytes come from the storage endpoint of the settings, where there is one: it has no console.
    """
    if settings.storage_endpoint is None:
        return f"{CONSOLE}/{quote(bucket)}/{quote(name)}"
    # Slashes are escaped too: the name's own `..` must not climb out of the bucket.
    path = f"storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"
    return f"{settings.storage_endpoint.rstrip('/')}/{path}?alt=media"
