import pytest

from tasks.core.google.storage import object_link
from tasks.core.settings import Settings


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("planes/a.png", "planes/a.png"),
        ("a b(c)|[d]`.png", "a%20b%28c%29%7C%5Bd%5D%60.png"),
        ("ü?x#y&z%.png", "%C3%BC%3Fx%23y%26z%25.png"),
    ],
)
def test_google_s_console_is_linked(name: str, shown: str) -> None:
    console = "https://console.cloud.google.com/storage/browser/_details"
    assert object_link(Settings(), "bucket", name) == f"{console}/bucket/{shown}"


def test_a_local_storage_is_linked_and_no_name_climbs_out_of_its_bucket() -> None:
    settings = Settings(storage_endpoint="http://127.0.0.1:1/")
    link = object_link(settings, "bucket", "../x y.png")
    assert link == "http://127.0.0.1:1/storage/v1/b/bucket/o/..%2Fx%20y.png?alt=media"
