"""``tenantlimpyd scan``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import redis

from tenantlimpyd.cli.output import printable

pytestmark = pytest.mark.slow

ALL = [
    ("acme", "invoice:1"),
    ("acme", "invoice:2"),
    ("acme", "note:1"),
    ("globex", "invoice:1"),
    ("initech", "invoice:9"),
    ("initech", "note:1"),
]


def keys(result):
    return sorted(tuple(line.split("\t")) for line in result.stdout.splitlines())


def test_scan_prints_all_keys_of_all_tenants(cli, process, config):
    assert keys(cli("scan", "-c", config)) == ALL
    result = process("scan", "-c", config)
    assert (result.returncode, result.stderr, keys(result)) == (0, "", ALL)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("invoice:*",), [pair for pair in ALL if pair[1].startswith("invoice")]),
        (("-t", "acme", "--tenant", "globex"), ALL[:4]),
        (("--type", "hash"), [("initech", "invoice:9")]),
        (("--count", "1"), ALL),
        (("nothing*",), []),
    ],
)
def test_scan_prints_matching_keys_of_some_tenants(cli, config, arguments, expected):
    result = cli("scan", "-c", config, *arguments)
    assert (result.exit_code, keys(result)) == (0, expected)


def test_json_output_is_one_object_per_line(cli, config):
    told = [json.loads(line) for line in cli("scan", "-c", config, "--json").stdout.splitlines()]
    assert sorted((line["tenant"], line["key"]) for line in told) == ALL
    assert all(line.keys() == {"tenant", "key"} for line in told)


def test_keys_with_control_characters_are_escaped(cli, process, config, server):
    odd = [b"\x1b[2J", b"a\tb\nc", b"\xff\xfe", "é\u202e".encode(), b"back\\slash", b"[red]"]
    with redis.Redis(**server.settings, db=41) as acme:
        acme.flushdb()
        for key in odd:
            acme.set(key, "x")
    plain = cli("scan", "-c", config, "-t", "acme")
    assert sorted(plain.stdout.splitlines()) == sorted(
        "acme\t" + key for key in ["\\x1b[2J", "a\\tb\\nc", "\\udcff\\udcfe", "é\\u202e", "back\\\\slash", "[red]"]
    )
    lines = cli("scan", "-c", config, "-t", "acme", "--json").stdout.splitlines()
    assert sorted(json.loads(line)["key"].encode("utf-8", "surrogateescape") for line in lines) == sorted(odd)
    narrow = process("scan", "-c", config, "-t", "acme", env={"PYTHONIOENCODING": "ascii"})
    assert (narrow.returncode, "acme\t\\xe9\\u202e" in narrow.stdout) == (0, True)


def test_escaped_keys_are_distinct():
    odd = ["\n", "\\n", "\\\n", "\x80", "\udc80", "é", "\\xe9", ""]
    assert len({printable(key) for key in odd}) == len(odd)
    assert all(printable(key).isprintable() for key in odd)


@pytest.mark.parametrize("policy", ["defer", "collect"])
def test_failed_tenant_is_named_and_the_others_are_complete(cli, broken_config, policy):
    result = cli("scan", "-c", broken_config, "--timeout", "0.3", "--on-error", policy)
    assert (result.exit_code, keys(result)) == (1, ALL)
    assert "tenant dead failed: " in result.stderr
    assert "Connection refused" in result.stderr
    assert "hunter2" not in result.output


def test_raise_stops_at_the_first_failure(cli, broken_config):
    result = cli("scan", "-c", broken_config, "-t", "dead", "--timeout", "0.3", "--on-error", "raise")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("tenant dead failed: ")


def test_summary_is_printed_to_stderr(cli, broken_config):
    result = cli("scan", "-c", broken_config, "--timeout", "0.3", "--summary")
    assert "6 keys of 4 tenants" in result.stderr
    rows = [[part.strip() for part in line.strip("│").split("│")] for line in result.stderr.splitlines() if "│" in line]
    assert [(row[0], row[1], row[3]) for row in rows if row[0] != "dead"] == [
        ("acme", "3", "ok"),
        ("globex", "1", "ok"),
        ("initech", "2", "ok"),
    ]
    # Which of the two depends on whether another scan has just found the server dead.
    assert [row[3] in ("ConnectionError", "ServerUnavailableError") for row in rows if row[0] == "dead"] == [True]
    assert keys(result) == ALL


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-t", "nobody"), "no tenant 'nobody'"),
        (("-t", ""), "is no tenant id"),
        (("--count", "0"), "--count"),
        (("--timeout", "0"), "--timeout"),
        (("--timeout", "nan"), "--timeout"),
        (("--on-error", "shrug"), "--on-error"),
        (("a", "b"), "unexpected"),
    ],
)
def test_wrong_arguments_are_usage_errors(cli, config, arguments, words):
    result = cli("scan", "-c", config, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


@pytest.mark.parametrize("command", ["tenants", "check", "scan"])
def test_pipe_closed_before_the_start_is_no_error(process, config, command):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        result = process(command, "-c", config, capture_output=False, stdout=nobody, stderr=subprocess.PIPE)
    assert (result.returncode, result.stderr) == (141, "")


def test_interrupted_scan_ends_at_once(config):
    # A server that accepts, and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with config.open("a") as file:
            file.write(f"\n[tenants.silent]\nport = {silent.getsockname()[1]}\n")
        command = [sys.executable, "-m", "tenantlimpyd", "scan", "-t", "silent", "-c", str(config)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as scan:
            silent.settimeout(20)
            connection, _ = silent.accept()
            with connection:
                scan.send_signal(signal.SIGINT)
                assert scan.wait(timeout=8) == 130
            assert b"Traceback" not in scan.stderr.read()


def test_pipe_closed_during_the_scan_is_no_error(config, server):
    with redis.Redis(**server.settings, db=41) as acme:
        acme.mset({f"key:{n:050}": "" for n in range(20_000)})
    command = [sys.executable, "-W", "error", "-m", "tenantlimpyd", "scan", "-c", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as scan:
        assert b"\t" in scan.stdout.readline()
        scan.stdout.close()
        assert scan.stderr.read() == b""
        assert scan.wait(timeout=30) == 141


def test_unique_prints_each_key_once(cli, config):
    result = cli("scan", "-c", config, "--unique")
    assert (result.exit_code, keys(result)) == (0, ALL)


def test_failed_scan_is_resumed(cli, broken_config, tmp_path):
    resume_file = tmp_path / "resume_file"
    broken = cli("scan", "-c", broken_config, "--resume", resume_file)
    assert broken.exit_code == 1
    assert resume_file.read_text().startswith("tlw1.")
    again = cli("scan", "-c", broken_config, "--resume", resume_file)
    assert again.exit_code == 1
    assert keys(again) == []  # the healthy tenants are done


def test_finished_scan_leaves_no_resume_file(cli, config, tmp_path):
    resume_file = tmp_path / "resume_file"
    assert keys(cli("scan", "-c", config, "--resume", resume_file)) == ALL
    assert not resume_file.exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_scan_writes_a_resume_file(config, server, tmp_path, number, status):
    resume_file = tmp_path / "resume_file"
    with redis.Redis(**server.settings, db=41) as acme:
        acme.mset({f"many:{number}": "x" for number in range(20_000)})
        try:
            command = [sys.executable, "-m", "tenantlimpyd", "scan", "-c", str(config), "--resume", str(resume_file)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                first = [process.stdout.readline()]
                process.send_signal(number)
                first += process.stdout.readlines()
                assert process.wait(20) == status
            assert len(first) < 20_000
            assert resume_file.exists()
            first = [line for line in first if line.endswith("\n")]  # the last one may be cut
            rest = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
            found = {tuple(line.rstrip("\n").split("\t")) for line in [*first, *rest.splitlines()]}
            assert {key for tenant, key in found if tenant == "acme"} >= {f"many:{number}" for number in range(20_000)}
            assert not resume_file.exists()
        finally:
            acme.delete(*acme.keys("many:*"))


@pytest.mark.parametrize("text", ["nonsense", "tlw1.AAAA", "\u00e9"])
def test_invalid_resume_file_is_refused(cli, config, tmp_path, text):
    resume_file = tmp_path / "resume_file"
    resume_file.write_text(text)
    result = cli("scan", "-c", config, "--resume", resume_file)
    assert result.exit_code == 2
    assert "--resume" in result.stderr


@pytest.mark.parametrize("name", ["missing/resume_file", "file/resume_file"])
def test_unwritable_resume_file_is_refused_at_the_start(cli, config, tmp_path, name):
    (tmp_path / "file").write_text("")
    result = cli("scan", "-c", config, "--resume", tmp_path / name)
    assert result.exit_code == 2
    assert not result.stdout
    assert "--resume" in result.stderr


def test_failing_output_is_reported_without_a_traceback(process, config, tmp_path):
    (tmp_path / "out").write_text("")
    with (tmp_path / "out").open() as unwritable:  # fails at the first write, as a full disk does
        result = process("scan", "-c", config, capture_output=False, stdout=unwritable, stderr=subprocess.PIPE)
    assert result.returncode == 1
    assert "can't be written" in result.stderr
    assert "Traceback" not in result.stderr


def test_closed_output_is_reported_without_a_traceback(config):
    command = f"{sys.executable} -m tenantlimpyd scan -c {config} >&-"
    result = subprocess.run(command, shell=True, check=False, capture_output=True, text=True, timeout=50)
    assert result.returncode == 1
    assert "stdout is closed" in result.stderr
    assert "Traceback" not in result.stderr
