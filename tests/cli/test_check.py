"""`stepout check`: all problems of definitions, each at the line and column where it stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stepout.cli.main import commands

SCHEMA = "SCHEMA_VALIDATION_FAILED"
TARGET = "MISSING_TRANSITION_TARGET"
RIGHT = '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}'
WRONG = '{"StartAt": "A", "States": {"A": {"Type": "Succeed", "Colour": 1}}}'
WARNS = """{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true,
  "Parameters": {"a": "$.x"}}}}"""
SYNC = """{"StartAt": "A", "States": {"A": {"Type": "Task",
  "Resource": "arn:aws:states:::states:startExecution.sync",
  "Parameters": {"StateMachineArn": "arn"}, "End": true}}}"""
NO_DOLLAR = "A field whose value is a JSONPath or an intrinsic function has no '.$'."


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named as a user names them."""
    monkeypatch.chdir(tmp_path)


def check(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(
        commands, ["check", *arguments], stdin, prog_name="stepout", catch_exceptions=False
    )


def write(name: str, text: str | bytes) -> str:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def unmarked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """A text without its marks, and the line and column of what follows each `»`."""
    pieces = text.split("»")
    places = []
    for index in range(1, len(pieces)):
        before = "".join(pieces[:index]).replace("\r\n", "\n").split("\n")
        places.append((len(before), len(before[-1]) + 1))
    return "".join(pieces), places


def places_of(name: str, text: str) -> list[tuple[int, int]]:
    """Where the findings of a text stand, in the order of the text."""
    findings = json.loads(check(write(name, text), "--json").stdout)
    return sorted((finding["line"], finding["column"]) for finding in findings)


# --- What is printed ------------------------------------------------------------------------------


def test_nothing_is_told_of_a_right_definition() -> None:
    done = check(write("a.json", RIGHT))
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "Files: 1, errors: 0, warnings: 0.\n"


def test_all_problems_of_a_json_file_are_told_each_with_its_place() -> None:
    text = """{
  "StartAt": "A",
  "Colour": "red",
  "States": {
    "A": {
      "Type": "Pass",
      "InputPath": 5,
      "Next": "B"
    },
    "B": {"Type": "Nap"}
  }
}
"""
    done = check(write("a.json", text))
    assert done.exit_code == 1
    assert done.stdout == (
        f"a.json:1:1: error: {SCHEMA}: Field 'Colour' is not supported at /\n"
        f"a.json:7:7: error: {SCHEMA}: Expected value of type [STRING] at /States/A/InputPath\n"
        f"a.json:10:11: error: {SCHEMA}: The field 'Type' should have one of these values: [Task, "
        "Wait, Pass, Succeed, Fail, Choice, Parallel, Map] at /States/B/Type\n"
    )
    assert done.stderr == "Files: 1, errors: 3, warnings: 0.\n"


@pytest.mark.parametrize("name", ["a.yaml", "a.yml"])
def test_all_problems_of_a_yaml_file_are_told_each_with_its_place(name: str) -> None:
    text = """\
StartAt: A
States:
  A:
    Type: Pass
    Next: B
  C: {Type: Task, Resource: x, Next: A}
"""
    done = check(write(name, text))
    assert done.exit_code == 1
    assert done.stdout == (
        f"{name}:6:19: error: {SCHEMA}: Value is not a valid resource ARN at /States/C/Resource\n"
    )
    text = text.replace(
        "Resource: x", "Resource: 'arn:aws:lambda:us-east-1:123456789012:function:f'"
    )
    done = check(write(name, text))
    assert done.stdout == (
        f"{name}:5:5: error: {TARGET}: Missing 'Next' target: B at /States/A/Next\n"
        f"{name}:1:1: error: MISSING_END_STATE: Workflow has no terminal state\n"
    )
    assert done.stderr == "Files: 1, errors: 2, warnings: 0.\n"


def test_json_may_stand_in_a_yaml_file() -> None:
    assert check(write("a.yaml", RIGHT)).exit_code == 0
    assert places_of("a.yaml", WRONG) == [(1, 29)]


def test_several_files_are_told_in_their_order_and_one_error_is_exit_status_1() -> None:
    files = [write("b.json", WRONG), write("a.yaml", WRONG), write("c.json", RIGHT)]
    done = check(*files)
    assert done.exit_code == 1
    assert done.stdout == (
        f"b.json:1:29: error: {SCHEMA}: Field 'Colour' is not supported at /States/A\n"
        f"a.yaml:1:29: error: {SCHEMA}: Field 'Colour' is not supported at /States/A\n"
    )
    assert done.stderr == "Files: 3, errors: 2, warnings: 0.\n"


def test_a_definition_may_come_from_standard_input() -> None:
    done = check("-", stdin=WRONG)
    assert done.exit_code == 1
    assert done.stdout == (
        f"standard input:1:29: error: {SCHEMA}: Field 'Colour' is not supported at /States/A\n"
    )


def test_findings_as_json_stand_alone_on_standard_output() -> None:
    done = check(write("a.json", WRONG), write("b.json", WARNS), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == [
        {
            "file": "a.json",
            "line": 1,
            "column": 29,
            "severity": "error",
            "code": SCHEMA,
            "message": "Field 'Colour' is not supported",
            "location": "/States/A",
        },
        {
            "file": "b.json",
            "line": 2,
            "column": 18,
            "severity": "warning",
            "code": "NO_DOLLAR",
            "message": NO_DOLLAR,
            "location": "/States/A/Parameters/a",
        },
    ]
    assert done.stderr == ""


def test_no_findings_as_json_are_an_empty_list() -> None:
    done = check(write("a.json", RIGHT), "--json")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_a_problem_of_the_whole_definition_has_no_location(name: str) -> None:
    loop = '\n\n {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "A"}}}'
    (finding,) = json.loads(check(write(name, loop), "--json").stdout)
    assert (finding["code"], finding["location"]) == ("MISSING_END_STATE", None)
    assert (finding["line"], finding["column"]) == (3, 2)


# --- Warnings and options -------------------------------------------------------------------------


def test_warnings_are_told_and_are_exit_status_0() -> None:
    done = check(write("a.json", WARNS))
    assert done.exit_code == 0
    assert done.stdout == (
        f"a.json:2:18: warning: NO_DOLLAR: {NO_DOLLAR} at /States/A/Parameters/a\n"
    )
    assert done.stderr == "Files: 1, errors: 0, warnings: 1.\n"


def test_a_static_result_is_warned_of_at_its_place() -> None:
    text, places = unmarked("""\
StartAt: A
States:
  A:
    Type: Pass
    »Result: {a.$: $.x}
    End: true
""")
    assert places_of("a.yaml", text) == places


def test_a_definition_with_errors_is_warned_of_where_its_fields_are_right() -> None:
    done = check(write("a.json", WARNS.replace('"End": true', '"Next": "X"')))
    assert "error: " in done.stdout
    assert "warning: " in done.stdout
    done = check(write("a.json", WARNS.replace('"End": true', '"End": 1')))
    assert "error: " in done.stdout
    assert "warning: " not in done.stdout


@pytest.mark.parametrize(
    ("options", "stdout", "stderr"),
    [
        (["--no-warnings"], "", "Files: 1, errors: 0, warnings: 0.\n"),
        (["--no-warnings", "--json"], "[]\n", ""),
    ],
)
def test_warnings_are_not_told_where_they_are_not_wanted(
    options: list[str], stdout: str, stderr: str
) -> None:
    done = check(write("a.json", WARNS), *options)
    assert (done.exit_code, done.stdout, done.stderr) == (0, stdout, stderr)


def test_errors_are_told_where_warnings_are_not_wanted() -> None:
    done = check(write("a.json", WRONG), write("b.json", WARNS), "--no-warnings")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == "Files: 2, errors: 1, warnings: 0.\n"


def test_what_an_express_machine_may_not_have_is_refused_on_demand() -> None:
    file = write("a.json", SYNC)
    assert check(file).exit_code == 0
    done = check(file, "--express")
    assert done.exit_code == 1
    assert done.stdout == (
        f"a.json:2:3: error: {SCHEMA}: Express state machine does not support '.sync' service "
        "integration at /States/A/Resource\n"
    )


# --- Places ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "marked",
    [
        pytest.param('»{"StartAt": "A"}', id="a missing field stands at its object"),
        pytest.param(' \n\t »{"StartAt": "A"}\n', id="white space before the object"),
        pytest.param('{"States": {}, "StartAt": "A"}'.replace('"States"', '»"States"'), id="root"),
        pytest.param(
            '{"StartAt":\n\n"A","States":{»"A"\n:\n\t{"Type":"Succeed","Colour":1}}}',
            id="a value below its key stands at the key",
        ),
        pytest.param(
            '{"StartAt": "A",\r\n"States": {\r\n»"A": {"Type": "Succeed", "X": 1}}}',
            id="lines end as on Windows",
        ),
        pytest.param(
            '{\t"Comment":\t"é😀\\n\\"{[,",\t"StartAt":\t"A", "States": {»"A": 1}}',
            id="characters of several bytes, escapes and brackets in a text before it",
        ),
        pytest.param(
            r'{"StartAt": "A", "States": {»"\u0041": {"Type": "Succeed", "X": 1}}}',
            id="a key with escapes",
        ),
        pytest.param(
            r'{"StartAt": "\"é\" \\", "States": {"\"é\" \\": {"Type": "Wait", »"Seconds": -1, '
            '"End": true}}}',
            id="a name with quotes and backslashes",
        ),
        pytest.param(
            '{"StartAt": "A", "States": {"A": {"Type": "Nap"},\n »"A": {"Type": "Succeed", '
            '"X": 1}}}',
            id="of a key given twice the last counts",
        ),
        pytest.param(
            '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "AB"}, "AB": {"Type": '
            '"Pass", »"Next": "X"}, »"A/B": {"Type": "Pass", »"Next": "Y"}, »"A[0]": {"Type": '
            '"Pass", "End": true}}}',
            id="names that begin alike, with a slash, with brackets",
        ),
        pytest.param(
            '{"StartAt": "", "States": {"": {"Type": "Succeed", »"Comment": 1}}}',
            id="a name without characters",
        ),
        pytest.param(
            """{"StartAt": "C", "States": {"C": {"Type": "Choice", "Choices": [
              {"Variable": "$.a", "IsNull": true, "Next": "S"},
              {»"Variable": "a", "IsNull": true, "Next": "S"},
              {"Or": [{"Variable": "$.a", "IsNull": true}, {"Variable": "$.b", »"IsNull": 1}],
               "Next": "S"},
              »{"Variable": "$.a", "IsNull": true},
              »7]},
              "S": {"Type": "Succeed"}}}""",
            id="rules of a Choice",
        ),
        pytest.param(
            """{"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": true, "Branches": [
              {"StartAt": "X", "States": {"X": {"Type": "Succeed"}}},
              {»"StartAt": "Z", "States": {»"Y": {"Type": "Map", "ItemProcessor": {"StartAt": "W",
                "States": {"W": {"Type": "Pass", »"Next": "P"}}}, "Catch": [
                  {"ErrorEquals": ["E"], »"Next": "X"}], "End": true}}}]}}}""",
            id="branches, item processors and catchers",
        ),
        pytest.param(
            """{"StartAt": "A", "QueryLanguage": "JSONata", "States": {"A": {"Type": "Pass",
              "Output": {"a": [1, [»"{% [1, %}"]], »"b.c": "{% phone %}"}, "End": true}}}""",
            id="expressions of JSONata",
        ),
    ],
)  # fmt: skip
def test_each_finding_of_a_json_file_stands_where_it_is_wrong(marked: str) -> None:
    text, places = unmarked(marked)
    assert places_of("a.json", text) == places


@pytest.mark.parametrize(
    "marked",
    [
        pytest.param("# a comment\n\n»StartAt: A\n", id="a missing field stands at its object"),
        pytest.param(
            "---\nStartAt: A\nStates:\n  »A:\n    Type: Succeed\n    Colour: 1\n", id="block style"
        ),
        pytest.param(
            "StartAt: A\nStates: {A: {Type: Wait,\n  »Seconds: -1, End: true}}\n", id="flow style"
        ),
        pytest.param(
            """\
Comment: |
  States:
    A: no state

StartAt: "é"
States:
  'é':
    Type: Wait
    »"Seconds": -1
    End: yes
  ? »😀
  : {»Next: 1, Type: Pass, X: 1}
""",
            id="quoted keys, explicit keys and what only looks like one",
        ),
        pytest.param(
            """\
StartAt: A
States:
  A:
    Type: Task
    Resource: arn:aws:lambda:us-east-1:123456789012:function:f
    Retry:
    - ErrorEquals: [E]
    - »ErrorEquals: []
    -   ErrorEquals: [F]
        »MaxAttempts: -1
    Catch: [{ErrorEquals: [E], Next: A}, »{ErrorEquals: [F]}]
    End: true
""",
            id="items of a list",
        ),
        pytest.param(
            """\
StartAt: A
States:
  A:
    Type: Task
    Resource: arn:aws:lambda:us-east-1:123456789012:function:f
    Retry: &again
    - ErrorEquals: [E]
      »»MaxAttempts: -1
    Next: B
  B:
    Type: Task
    Resource: arn:aws:lambda:us-east-1:123456789012:function:f
    Retry: *again
    End: true
""",
            id="an alias shows its anchor",
        ),
        pytest.param(
            """\
StartAt: A
States:
  A: &wait
    Type: Wait
    »»Seconds: -1
    Next: B
  B:
    <<: *wait
    Next: C
  C:
    <<: *wait
    »Seconds: -2
    Next: D
  D: {Type: Succeed}
""",
            id="what is merged shows where it comes from",
        ),
    ],
)
def test_each_finding_of_a_yaml_file_stands_where_it_is_wrong(marked: str) -> None:
    text, places = unmarked(marked)
    assert places_of("a.yaml", text) == places


def test_a_timestamp_in_yaml_needs_no_quotes() -> None:
    text = "StartAt: A\nStates:\n  A: {Type: Wait, Timestamp: %s, End: true}\n"
    assert check(write("a.yaml", text % "2026-11-23T12:34:56Z")).exit_code == 0
    assert places_of("a.yaml", text % "2026-11-23") == [(3, 19)]


# --- What cannot be checked -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
@pytest.mark.parametrize("text", ["", " \n\n"])
def test_an_empty_file_is_no_definition(name: str, text: str) -> None:
    done = check(write(name, text))
    assert done.exit_code == 1
    assert done.stdout.endswith(f":1: error: {SCHEMA}: Definition must be a valid JSON object\n")


def test_a_yaml_file_of_comments_is_no_definition() -> None:
    done = check(write("a.yaml", "# nothing\n"))
    assert done.exit_code == 1
    assert done.stdout == (f"a.yaml:1:1: error: {SCHEMA}: Definition must be a valid JSON object\n")


@pytest.mark.parametrize("text", ["[]", "null", '"A"', "1"])
@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_what_is_no_object_is_no_definition(name: str, text: str) -> None:
    done = check(write(name, text))
    assert done.exit_code == 1
    assert f"error: {SCHEMA}: Definition must be a valid JSON object\n" in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"StartAt": "A",\n  "States": {,}\n}', "expected a string key (line 2, column 14)"),
        ('{"StartAt": "é",,\n}', "expected a string key (line 1, column 17)"),
        ('{"StartAt": NaN}', "expected a JSON value (line 1, column 13)"),
        ('{"StartAt": "A"', "(line 1, column 16)"),
        ('{"StartAt": "A"} {}', "(line 1, column 18)"),
        ("\ufeff" + RIGHT, "byte order mark (BOM) is not supported (line 1, column 1)"),
        ("StartAt: A", "Unrecognized token 'StartAt'"),
        ("[" * 100_000, "The JSON text nests deeper than 1000 levels."),
    ],
)
def test_broken_json_is_told_and_is_exit_status_1(text: str, message: str) -> None:
    done = check(write("a.json", text))
    assert done.exit_code == 1
    assert " error: INVALID_JSON_DESCRIPTION: " in done.stdout
    assert message in done.stdout
    # The place is the one that the message tells, where it tells one.
    told = re.search(r"line (\d+), column (\d+)\)", done.stdout)
    if told is not None:
        assert done.stdout.startswith(f"a.json:{told[1]}:{told[2]}: ")
    assert done.stderr == "Files: 1, errors: 1, warnings: 0.\n"


def test_a_definition_that_nests_too_deep_is_told_as_such() -> None:
    nested = f'{{"StartAt": "A", "States": {"[" * 300}{"]" * 300}}}'
    done = check(write("a.json", nested))
    assert (done.exit_code, done.stdout) == (
        1,
        "a.json:1:1: error: TOO_DEEPLY_NESTED: Definition is nested deeper than 200 levels\n",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("StartAt: A\nStates: [\n", "found '<stream end>'"),
        ("StartAt: A\nStates:\n\tA: 1\n", "found character '\\t' that cannot start any token"),
        ("StartAt: A\nStates: {A: !Sub x}\n", "constructor for the tag '!Sub'"),
        ("StartAt: A\n---\nStates: {}\n", "expected a single document"),
        ("StartAt: A\nStates: *a\n", "undefined alias 'a'"),
        ("StartAt: A\nStates: &a {A: *a}\n", "more than 200,000 values"),
        ("StartAt: A\nStates: !!binary aGk=\n", "holds what JSON has not"),
        ("StartAt: A\nStates: !!set {A, B}\n", "holds what JSON has not"),
    ],
)
def test_broken_yaml_is_told_in_one_line_and_is_exit_status_1(text: str, message: str) -> None:
    done = check(write("a.yaml", text), write("b.json", WRONG))
    assert done.exit_code == 1
    first, second = done.stdout.splitlines()
    assert first.startswith("a.yaml:")
    assert " error: INVALID_JSON_DESCRIPTION: The YAML text " in first
    assert message in first
    assert second.startswith("b.json:1:29: ")
    assert done.stderr == "Files: 2, errors: 2, warnings: 0.\n"


def test_broken_yaml_as_json_has_no_location() -> None:
    (finding,) = json.loads(check(write("a.yaml", "["), "--json").stdout)
    assert (finding["file"], finding["code"]) == ("a.yaml", "INVALID_JSON_DESCRIPTION")
    assert finding["location"] is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere.json", None, "No such file or directory"),
        ("nowhere.yaml", None, "No such file or directory"),
        ("latin.json", '{"é": 1}'.encode("latin-1"), "'utf-8' codec can't decode byte 0xe9"),
        ("latin.yaml", "é: 1".encode("latin-1"), "'utf-8' codec can't decode byte 0xe9"),
        (".", None, "Is a directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_finding_beside_those_of_the_others(
    name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        write(name, content)
    done = check(name, write("last.json", "{}"))
    first, second = done.stdout.splitlines()
    assert done.exit_code == 1
    assert first.startswith(f"{name}:1:1: error: INVALID_JSON_DESCRIPTION: {name} cannot be read: ")
    assert message in first
    assert second.startswith("last.json:1:1: error: SCHEMA_VALIDATION_FAILED: ")


def test_standard_input_that_is_no_utf8_is_a_finding() -> None:
    done = check("-", stdin=b"\xff")
    assert done.exit_code == 1
    assert "standard input cannot be read: 'utf-8' codec" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'FILES...'"),
        (["--colour", "a.json"], "No such option"),
    ],
)
def test_wrong_usage_is_exit_status_2(arguments: list[str], message: str) -> None:
    done = check(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


# --- The process ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "status", "line"),
    [
        (RIGHT, 0, ""),
        (WARNS, 0, f"é.json:2:18: warning: NO_DOLLAR: {NO_DOLLAR} at /States/A/Parameters/a\n"),
        (WRONG, 1, f"é.json:1:29: error: {SCHEMA}: Field 'Colour' is not supported at /States/A\n"),
    ],
)
def test_the_process_prints_findings_and_ends_with_the_status(
    text: str, status: int, line: str
) -> None:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-m", "stepout.cli", "check", write("é.json", text)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (status, line), done.stderr
    assert done.stderr.startswith("Files: 1, ")


# --- Policies -------------------------------------------------------------------------------------

POLICY = """{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "states:InvokeHTTPEndpoint",
   "Resource": "arn:aws:states:us-east-1:123456789012:stateMachine:m",
   "Condition": {"StringLike": {"states:HTTPEndpoint": "https://api.example.com%s"}}}]}"""


def test_a_policy_is_told_from_a_definition_and_held_against_iams_language() -> None:
    result = check(write("policy.json", POLICY % "/v1/*"))
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_host_that_is_not_closed_is_warned_of() -> None:
    result = check(write("policy.json", POLICY % "*"))
    assert result.exit_code == 0
    assert result.stdout.startswith("policy.json:4:33: warning: OPEN_HOST: 'https://api.example")


def test_every_problem_of_a_policy_is_told_where_it_stands() -> None:
    text = (
        "Statement:\n- Effect: allow\n  Action: x\n  Resource: '*'\n"
        "  Condition:\n    StringLikes: {a: b}\n"
    )
    result = check(write("policy.yaml", text))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [line.split(" ")[0] for line in lines] == [
        "policy.yaml:2:3:",
        "policy.yaml:3:3:",
        "policy.yaml:6:5:",
    ]
    assert all("error: INVALID_POLICY: " in line for line in lines)


@pytest.mark.parametrize(
    ("statement", "exit_code"),
    [
        ({"Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}, 0),
        ({"Principal": "*", "Action": "states:*", "Resource": "*"}, 0),
        ({"Action": "states:*"}, 1),
    ],
)
def test_the_kind_of_a_policy_is_known_by_what_it_has(
    statement: dict[str, object], exit_code: int
) -> None:
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", **statement}}
    assert check(write("policy.json", json.dumps(document))).exit_code == exit_code
