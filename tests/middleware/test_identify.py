"""The tenant that a request names: ``from_header``, ``from_subdomain``, ``from_path`` and custom functions."""

from __future__ import annotations

import asyncio

import pytest

from tenantlimpyd import DatabaseRouter
from tenantlimpyd.exceptions import ConfigurationError
from tenantlimpyd.middleware import asgi, from_header, from_path, from_subdomain, wsgi
from tenantlimpyd.middleware.identify import Request
from tests.middleware.conftest import Question, ask_asgi, ask_wsgi

pytestmark = pytest.mark.slow


def test_from_functions_are_importable_from_asgi_and_wsgi():
    for module in (asgi, wsgi):
        assert (module.from_header, module.from_subdomain, module.from_path) == (from_header, from_subdomain, from_path)


# Headers


@pytest.mark.parametrize("name", ["X-Tenant-ID", "x-tenant-id", "X-TENANT-ID"])
def test_header_name_is_case_insensitive(ask, name):
    reply = ask(from_header(name), headers=[(b"X-Tenant-ID", b"acme")])
    assert (reply.status, reply.seen[0]["value"]) == (200, "acme")


@pytest.mark.parametrize(
    "values",
    [(b"acme", b"globex"), (b"acme", b"acme"), (b"acme,globex",), (b"acme, acme",), (b"", b"acme"), (b"acme,",)],
    ids=repr,
)
def test_repeated_header_is_malformed_even_with_equal_values(ask, values):
    reply = ask(from_header("X-Tenant-ID"), headers=[(b"X-Tenant-ID", value) for value in values])
    assert (reply.status, reply.error, reply.seen) == (400, "invalid_tenant", [])


@pytest.mark.parametrize(
    "value", [b"", b" ", b" acme", b"acme\x00", b"ac\tme", b"acm\xe9", b"\xff\xfe", b"acme\x7f", b"*"]
)
def test_header_that_is_not_a_tenant_id_is_malformed(ask, value):
    reply = ask(from_header("X-Tenant-ID"), headers=[(b"X-Tenant-ID", value)])
    assert (reply.status, reply.error, reply.seen) == (400, "invalid_tenant", [])


@pytest.mark.parametrize(
    "name", ["", "X Tenant", "X-Tenant:", "X_Tenant_ID", "X-Tenant\n", "Ünternehmen", None, b"X-Tenant"]
)
def test_from_header_refuses_an_invalid_header_name(name):
    with pytest.raises(ConfigurationError, match="such as 'X-Tenant-ID'"):
        from_header(name)


# Hosts


@pytest.mark.parametrize(
    "host",
    ["acme.example.com", "ACME.Example.COM", "acme.example.com:8000", "acme.example.com.", "acme.example.com.:80"],
)
@pytest.mark.parametrize("domain", ["example.com", ".example.com", "EXAMPLE.com", "example.com."])
def test_subdomain_names_the_tenant(ask, host, domain):
    reply = ask(from_subdomain(domain), headers=[(b"Host", host.encode())])
    assert (reply.status, reply.seen[0]["value"]) == (200, "acme")


@pytest.mark.parametrize(
    "host", ["example.com", "acme.example.org", "acmeexample.com", "acme.example.com.evil.org", "127.0.0.1"]
)
def test_host_outside_the_domain_names_no_tenant(ask, host):
    reply = ask(from_subdomain("example.com"), headers=[(b"Host", host.encode())])
    assert (reply.status, reply.error, reply.seen) == (400, "no_tenant", [])


def test_missing_host_names_no_tenant(ask):
    assert ask(from_subdomain("example.com")).error == "no_tenant"


@pytest.mark.parametrize(
    "host",
    [
        b"a.acme.example.com",
        b".example.com",
        b"acme.example.com:80:80",
        b"evil@acme.example.com",
        b"[::1]:80",
        b"",
        b"acme.example.com/",
    ],
)
def test_invalid_host_is_malformed(ask, host):
    reply = ask(from_subdomain("example.com"), headers=[(b"Host", host)])
    assert (reply.status, reply.error, reply.seen) == (400, "invalid_tenant", [])


def test_repeated_host_is_malformed(ask):
    reply = ask(
        from_subdomain("example.com"), headers=[(b"Host", b"acme.example.com"), (b"Host", b"globex.example.com")]
    )
    assert reply.error == "invalid_tenant"


@pytest.mark.parametrize(
    "domain", ["", ".", "example.com:80", "https://example.com", "bücher.example", "a..b", None, b"a.b"]
)
def test_from_subdomain_refuses_an_invalid_domain(domain):
    with pytest.raises(ConfigurationError, match=r"such as 'example\.com'"):
        from_subdomain(domain)


# Paths


@pytest.mark.parametrize("root", ["", "/api"])
@pytest.mark.parametrize(
    ("prefix", "path", "moved", "rest"),
    [
        ("/", "/acme/notes", "/acme", "/notes"),
        ("/", "/acme", "/acme", ""),
        ("/", "/acme/", "/acme", "/"),
        ("/", "/acme//notes/é", "/acme", "//notes/é"),
        ("/t", "/t/acme/notes", "/t/acme", "/notes"),
        ("/t/", "/t/acme/notes", "/t/acme", "/notes"),
        ("/kundé", "/kundé/acme/notes", "/kundé/acme", "/notes"),
    ],
)
def test_path_names_the_tenant_and_mounts_the_application(ask, root, prefix, path, moved, rest):
    reply = ask(from_path(prefix), path=path, root=root)
    assert reply.seen[0] == {"value": "acme", "root": root + moved, "path": rest}


@pytest.mark.parametrize(
    ("prefix", "path"),
    [("/", "/"), ("/", ""), ("/", "//acme"), ("/t", "/t"), ("/t", "/t/"), ("/t", "/tx/acme"), ("/t", "/acme")],
)
def test_path_outside_the_prefix_names_no_tenant(ask, prefix, path):
    reply = ask(from_path(prefix), path=path)
    assert (reply.status, reply.error, reply.seen) == (400, "no_tenant", [])


@pytest.mark.parametrize("segment", ["*", "acme ", "..", "acmé", "acme\x00", "acme%2F"])
def test_path_segment_that_is_not_a_tenant_id_is_malformed(ask, segment):
    reply = ask(from_path(), path=f"/{segment}/notes")
    assert (reply.status, reply.error, reply.seen) == (400, "invalid_tenant", [])


@pytest.mark.parametrize("prefix", ["", "t", None, b"/t"])
def test_from_path_refuses_an_invalid_prefix(prefix):
    with pytest.raises(ConfigurationError, match="such as '/t'"):
        from_path(prefix)


def test_path_without_the_mount_point_is_understood(router):
    """Some ASGI servers omit the mount point; frameworks expect it."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["root_path"], scope["path"]))

    middleware = asgi.TenantMiddleware(app, router=router, identify=from_path())
    scope = {"type": "http", "root_path": "/api/", "path": "/acme/notes", "headers": []}
    asyncio.run(middleware(scope, None, None))
    assert seen == [("/api/acme", "/api/acme/notes")]


# The request


def view(path="/a/b", **headers: str) -> Request:
    values = {name.lower(): (value,) for name, value in headers.items()}
    return Request(path, {}, lambda name: values.get(name.lower(), ()))


def test_repr_of_a_request_shows_no_headers():
    assert repr(view(authorization="secret")) == "<Request of the path '/a/b'>"


@pytest.mark.parametrize("part", ["", "/", "a", "/a/", "/a/b/c", "/b", "/A"])
def test_mount_refuses_anything_but_the_first_segments_of_the_path(part):
    with pytest.raises(ValueError, match="does not begin with the segments"):
        view().mount(part)


def test_custom_identify_reads_headers_host_path_and_the_native_request(ask):
    def identify(request: Request) -> str:
        assert request.headers("x-two") == ("1", "2") or request.headers("x-two") == ("1,2",)
        assert (request.header("x-none"), request.headers("x-none"), request.host) == (None, (), "example.com")
        assert request.path == "/notes"
        assert request.native.get("path", request.native.get("PATH_INFO")) == "/notes"
        return "globex"

    headers = [(b"X-Two", b"1"), (b"X-Two", b"2"), (b"Host", b"example.com:80")]
    assert ask(identify, headers=headers, path="/notes").seen[0]["value"] == "globex"


def test_wsgi_content_headers_are_read_without_prefix(router):
    found = []

    def identify(request: Request) -> None:
        found.append((request.header("Content-Type"), request.header("content-length")))

    middleware = wsgi.TenantMiddleware(lambda *_: [], router=router, identify=identify)
    list(middleware({"PATH_INFO": "/", "CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "3"}, lambda *_: None))
    assert found == [("text/plain", "3")]


# A grammar that admits every text


@pytest.mark.parametrize("ask", [ask_asgi, ask_wsgi], ids=["asgi", "wsgi"])
@pytest.mark.parametrize(
    ("identify", "question"),
    [
        (from_header("X-Tenant-ID"), Question(headers=[(b"X-Tenant-ID", b"a,b")])),
        (from_header("X-Tenant-ID"), Question(headers=[(b"X-Tenant-ID", b"a"), (b"X-Tenant-ID", b"b")])),
        (from_header("X-Tenant-ID"), Question(headers=[(b"X-Tenant-ID", b"a\x00")])),
        (from_header("X-Tenant-ID"), Question(headers=[(b"X-Tenant-ID", b"\xc3\xa9")])),
        (from_path(), Question(path="/é/notes")),
        (from_path(), Question(path="/a\n/notes")),
    ],
)
def test_permissive_grammar_admits_no_ambiguous_id(ask, identify, question):
    with DatabaseRouter(grammar=r"(?s).+") as router:
        reply = ask(router, question, identify=identify)
    assert (reply.status, reply.error) == (400, "invalid_tenant")


def test_mount_point_is_compared_by_whole_segments(router):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["root_path"], scope["path"]))

    middleware = asgi.TenantMiddleware(app, router=router, identify=from_path("/apis"))
    asyncio.run(middleware({"type": "http", "root_path": "/api", "path": "/apis/acme/x", "headers": []}, None, None))
    assert seen == [("/api/apis/acme", "/api/apis/acme/x")]
