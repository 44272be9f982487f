"""Image names by Docker's rules: what each means in full, and what is none."""

from __future__ import annotations

import pytest

from cwl_userspace.errors import InvalidReference
from cwl_userspace.reference import ImageReference

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"

# As written, in full, as Docker prints it.
NAMES = [
    ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
    ("alpine:3.19", "docker.io/library/alpine:3.19", "alpine:3.19"),
    ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
    ("docker.io/alpine:3", "docker.io/library/alpine:3", "alpine:3"),
    ("docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
    ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
    ("registry-1.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
    ("biocontainers/khmer:v2", "docker.io/biocontainers/khmer:v2", "biocontainers/khmer:v2"),
    ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
    ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
    ("localhost", "docker.io/library/localhost:latest", "localhost:latest"),
    ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
    ("quay.example/a/b/c", "quay.example/a/b/c:latest", "quay.example/a/b/c:latest"),
    ("host:5000/a/b", "host:5000/a/b:latest", "host:5000/a/b:latest"),
    ("Host/a", "Host/a:latest", "Host/a:latest"),
    ("127.0.0.1/a", "127.0.0.1/a:latest", "127.0.0.1/a:latest"),
    ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
    ("xn--x.example/a", "xn--x.example/a:latest", "xn--x.example/a:latest"),
    ("a.b", "docker.io/library/a.b:latest", "a.b:latest"),
    ("a--b", "docker.io/library/a--b:latest", "a--b:latest"),
    ("a__b", "docker.io/library/a__b:latest", "a__b:latest"),
    ("a_b:_x", "docker.io/library/a_b:_x", "a_b:_x"),
    ("x:" + "t" * 128, "docker.io/library/x:" + "t" * 128, "x:" + "t" * 128),
    (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
    (f"host:5000/a/b@{DIGEST}", f"host:5000/a/b@{DIGEST}", f"host:5000/a/b@{DIGEST}"),
    (f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}", f"x:1@{DIGEST}"),
    ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ("docker.io/localhost/a", "docker.io/localhost/a:latest", "docker.io/localhost/a:latest"),
    ("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
]


@pytest.mark.parametrize(("text", "full", "familiar"), NAMES)
def test_a_name_has_one_full_and_one_familiar_form(text: str, full: str, familiar: str) -> None:
    reference = ImageReference.parse(text)
    assert (str(reference), reference.familiar) == (full, familiar)


@pytest.mark.parametrize("text", [name for row in NAMES for name in row])
def test_every_form_of_a_name_is_read_as_the_same_image(text: str) -> None:
    reference = ImageReference.parse(text)
    for form in (str(reference), reference.familiar):
        assert ImageReference.parse(form) == reference
        assert hash(ImageReference.parse(form)) == hash(reference)


def test_a_registry_is_asked_for_the_digest_if_there_is_one() -> None:
    assert ImageReference.parse(f"x:1@{DIGEST}").selector == DIGEST
    assert ImageReference.parse("x:1").selector == "1"
    assert ImageReference.parse("x").selector == "latest"


def test_the_name_is_without_tag_and_digest() -> None:
    assert ImageReference.parse(f"x:1@{DIGEST}").name == "docker.io/library/x"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1 to 255 characters"),
        ("UPPER", "lower case"),
        ("a/UPPER", "lower case"),
        ("/", "not a repository"),
        ("a/", "not a repository"),
        ("/a", "not a repository"),
        ("a//b", "not a repository"),
        ("-a", "not a repository"),
        ("a-", "not a repository"),
        ("a___b", "not a repository"),
        ("a._b", "not a repository"),
        ("a..b", "not a repository"),
        ("../a", "not a re"),
        ("a/../b", "not a repository"),
        ("a:b:c", "not a repository"),
        ("a b", "not a repository"),
        ("a\n", "not a repository"),
        ("é", "not a repository"),
        ("a" * 256, "1 to 255 characters"),
        ("docker.io/", "1 to 255 characters"),
        ("a:", "'' is not a tag"),
        ("a:.x", "'.x' is not a tag"),
        ("a:-x", "'-x' is not a tag"),
        ("a:1\n", "is not a tag"),
        ("a:é", "is not a tag"),
        ("x:" + "t" * 129, "is not a tag"),
        ("https://a.b/c", "'https:' is not a registry"),
        ("a.b:/c", "not a registry"),
        ("a.b:x/c", "not a registry"),
        ("a.b:٣/c", "not a registry"),
        ("a_b.c/x", "not a registry"),
        ("a..b/x", "not a registry"),
        ("a.-b/x", "not a registry"),
        ("a.b./x", "not a registry"),
        ("..com/x", "not a registry"),
        ("user@a.b/x", "not a digest"),
        ("[1.2]:5/x", "not a registry"),
        ("[::1]x/y", "not a registry"),
        (HEX, "image id"),
        (f"{HEX}:1", "image id"),
        (f"docker.io/{HEX}", "image id"),
        (f"a@{DIGEST[:-1]}", "not a sha256 digest"),
        (f"a@{DIGEST.upper()}", "not a digest"),
        (f"a@{DIGEST}@{DIGEST}", "not a sha256 digest"),
        ("a@md5:d41d8cd98f00b204e9800998ecf8427e", "not a digest that can be verified"),
        ("a@sha256:../../x", "not a sha256 digest"),
        ("a@", "not a digest"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        ImageReference.parse(text)
    assert says in caught.value.message
    assert repr(text) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 125
