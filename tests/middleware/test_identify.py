"""Which tenant a request names: the three ways that come with the middleware."""

from __future__ import annotations

import asyncio

import pytest

from tenantlimpyd import DatabaseRouter
from tenantlimpyd.exceptions import ConfigurationError
from tenantlimpyd.middleware import asgi, from_header, from_path, from_subdomain, wsgi
from tenantlimpyd.middleware.identify import Request
from tests.middleware.conftest import Question, ask_asgi, ask_wsgi


def test_the_three_are_importable_from_each_module():
    for module in (asgi, wsgi):
        assert (module.from_header, module.from_subdomain, module.from_path) == (from_header, from_subdomain, from_path)


# Headers


@pytest.mark.parametrize("name", ["X-Tenant-ID", "x-tenant-id", "X-TENANT-ID"])
def test_a_header_names_the_tenant_in_any_case_of_its_name(ask, name):
    reply = ask(from_header(name), headers=[(b"X-Tenant-ID", b"acme")])
    assert (reply.status, reply.seen[0]["value"]) == (200, "acme")


@pytest.mark.parametrize(
    "values",
    [(b"acme", b"globex"), (b"acme", b"acme"), (b"acme,globex",), (b"acme, acme",), (b"", b"acme"), (b"acme,",)],
    ids=repr,
)
def test_a_header_that_is_repeated_is_malformed_even_when_it_says_the_same(ask, values):
    reply = ask(from_header("X-Tenant-ID"), headers=[(b"X-Tenant-ID", value) for value in values])
    assert (reply.status, reply.error, reply.seen) == (400, "invalid_tenant", [])


@pytest.mark.parametrize(
    "value", [b"", b" ", b" acme", b"acme\x00", b"ac\tme", b"acm\xe9", b"\xff\xfe", b"acme\x7f", b"*"]
)
def test_a_header_that_is_no_id_is_malformed(ask, value):
    reply = ask(from_header("X-Tenant-ID"), headers=[(b"X-Tenant-ID", value)])
    assert (reply.status, reply.error, reply.seen) == (400, "invalid_tenant", [])


@pytest.mark.parametrize(
    "name", ["", "X Tenant", "X-Tenant:", "X_Tenant_ID", "X-Tenant\n", "Ünternehmen", None, b"X-Tenant"]
)
def test_a_header_name_is_checked_when_it_is_given(name):
    with pytest.raises(ConfigurationError, match="such as 'X-Tenant-ID'"):
        from_header(name)


# Hosts


@pytest.mark.parametrize(
    "host",
    ["acme.example.com", "ACME.Example.COM", "acme.example.com:8000", "acme.example.com.", "acme.example.com.:80"],
)
@pytest.mark.parametrize("domain", ["example.com", ".example.com", "EXAMPLE.com", "example.com."])
def test_a_subdomain_names_the_tenant(ask, host, domain):
    reply = ask(from_subdomain(domain), headers=[(b"Host", host.encode())])
    assert (reply.status, reply.seen[0]["value"]) == (200, "acme")


@pytest.mark.parametrize(
    "host", ["example.com", "acme.example.org", "acmeexample.com", "acme.example.com.evil.org", "127.0.0.1"]
)
def test_another_host_names_no_tenant(ask, host):
    reply = ask(from_subdomain("example.com"), headers=[(b"Host", host.encode())])
    assert (reply.status, reply.error, reply.seen) == (400, "no_tenant", [])


def test_no_host_names_no_tenant(ask):
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
def test_a_host_that_is_none_is_malformed(ask, host):
    reply = ask(from_subdomain("example.com"), headers=[(b"Host", host)])
    assert (reply.status, reply.error, reply.seen) == (400, "invalid_tenant", [])


def test_two_hosts_are_malformed(ask):
    reply = ask(
        from_subdomain("example.com"), headers=[(b"Host", b"acme.example.com"), (b"Host", b"globex.example.com")]
    )
    assert reply.error == "invalid_tenant"


@pytest.mark.parametrize(
    "domain", ["", ".", "example.com:80", "https://example.com", "bücher.example", "a..b", None, b"a.b"]
)
def test_a_domain_is_checked_when_it_is_given(domain):
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
def test_a_path_names_the_tenant_and_the_application_is_mounted_there(ask, root, prefix, path, moved, rest):
    reply = ask(from_path(prefix), path=path, root=root)
    assert reply.seen[0] == {"value": "acme", "root": root + moved, "path": rest}


@pytest.mark.parametrize(
    ("prefix", "path"),
    [("/", "/"), ("/", ""), ("/", "//acme"), ("/t", "/t"), ("/t", "/t/"), ("/t", "/tx/acme"), ("/t", "/acme")],
)
def test_another_path_names_no_tenant(ask, prefix, path):
    reply = ask(from_path(prefix), path=path)
    assert (reply.status, reply.error, reply.seen) == (400, "no_tenant", [])


@pytest.mark.parametrize("segment", ["*", "acme ", "..", "acmé", "acme\x00", "acme%2F"])
def test_a_segment_that_is_no_id_is_malformed(ask, segment):
    reply = ask(from_path(), path=f"/{segment}/notes")
    assert (reply.status, reply.error, reply.seen) == (400, "invalid_tenant", [])


@pytest.mark.parametrize("prefix", ["", "t", None, b"/t"])
def test_a_prefix_is_checked_when_it_is_given(prefix):
    with pytest.raises(ConfigurationError, match="such as '/t'"):
        from_path(prefix)


def test_a_server_that_leaves_the_root_out_of_the_path_is_understood(router):
    """Some ASGI servers do; frameworks expect it to be in."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["root_path"], scope["path"]))

    middleware = asgi.TenantMiddleware(app, router=router, identify=from_path())
    scope = {"type": "http", "root_path": "/api/", "path": "/acme/notes", "headers": []}
    asyncio.run(middleware(scope, None, None))
    assert seen == [("/api/acme", "/api/acme/notes")]


# The view


def view(path="/a/b", **headers: str) -> Request:
    values = {name.lower(): (value,) for name, value in headers.items()}
    return Request(path, {}, lambda name: values.get(name.lower(), ()))


def test_the_view_shows_nothing_of_the_headers_in_its_repr():
    assert repr(view(authorization="secret")) == "<Request of the path '/a/b'>"


@pytest.mark.parametrize("part", ["", "/", "a", "/a/", "/a/b/c", "/b", "/A"])
def test_only_whole_segments_from_the_beginning_can_be_mounted(part):
    with pytest.raises(ValueError, match="no beginning of the path"):
        view().mount(part)


def test_a_function_of_ones_own_reads_headers_host_path_and_the_native_request(ask):
    def identify(request: Request) -> str:
        assert request.headers("x-two") == ("1", "2") or request.headers("x-two") == ("1,2",)
        assert (request.header("x-none"), request.headers("x-none"), request.host) == (None, (), "example.com")
        assert request.path == "/notes"
        assert request.native.get("path", request.native.get("PATH_INFO")) == "/notes"
        return "globex"

    headers = [(b"X-Two", b"1"), (b"X-Two", b"2"), (b"Host", b"example.com:80")]
    assert ask(identify, headers=headers, path="/notes").seen[0]["value"] == "globex"


def test_content_headers_have_no_prefix_in_a_wsgi_environ(router):
    found = []

    def identify(request: Request) -> None:
        found.append((request.header("Content-Type"), request.header("content-length")))

    middleware = wsgi.TenantMiddleware(lambda *_: [], router=router, identify=identify)
    list(middleware({"PATH_INFO": "/", "CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "3"}, lambda *_: None))
    assert found == [("text/plain", "3")]


# A grammar that lets everything through


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
def test_a_loose_grammar_lets_no_ambiguous_id_in(ask, identify, question):
    with DatabaseRouter(grammar=r"(?s).+") as router:
        reply = ask(router, question, identify=identify)
    assert (reply.status, reply.error) == (400, "invalid_tenant")


def test_a_root_is_whole_segments_of_the_path(router):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["root_path"], scope["path"]))

    middleware = asgi.TenantMiddleware(app, router=router, identify=from_path("/apis"))
    asyncio.run(middleware({"type": "http", "root_path": "/api", "path": "/apis/acme/x", "headers": []}, None, None))
    assert seen == [("/api/apis/acme", "/api/apis/acme/x")]
