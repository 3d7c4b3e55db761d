"""Names of a stranger's records, files and models on the command line: they are shown, and do nothing else."""

# ruff: noqa: SIM300  expected == actual

import csv
import json
import re
import shlex
from html.parser import HTMLParser
from io import StringIO

import onnx
import pytest
from hostile import CI, CONTROL, FORMULAS, LATEX, LINES, MARKUP, PAGE, SHELL, alarms
from onnx import TensorProto, helper

from mnbench.results.record import Issue
from mnbench.results.store import ResultsFile


@pytest.fixture
def attacked(workspace, make_record):
    """Results with a text wherever a record has one, in a row that was measured and in one that failed."""

    def store(text):
        issue = Issue(name="noisy", advice=text)
        host = {"cpu": f"v1 {text}", "cores": 2}
        records = [
            make_record(0.5, variant=text, architecture=None, issues=(issue,), host=host),
            make_record(1.0, error=text, latency_ns=None, count_notes=(text,), host=host),
            make_record(0.25, host=host),
        ]
        for record in records:
            ResultsFile(workspace / "results", "cpu").append(record)

    return store


def attempts(*kinds, but=()):
    """Parameters of a test: each attack by its name."""
    attacks = {name: text for kind in kinds for name, text in kind.items() if name not in but}
    return pytest.mark.parametrize("text", attacks.values(), ids=attacks)


AT_THE_START = ("workflow command", "command after blanks")
"""Commands that are none behind another word."""

TEXT_FORMATS = ("md", "latex", "html")


@attempts(CONTROL, LINES, CI, but=("backspace", "bell", "carriage return", "form feed"))
def test_a_terminal_and_a_log_show_a_table_of_such_names(invoke, attacked, text):
    """No escape sequence, no mark that turns text around, no command of a CI service."""
    attacked(text)

    shown = invoke("table", env={"COLUMNS": "300"})

    assert shown.stdout.count("\n") > 5
    assert [] == alarms(shown.output)


@pytest.mark.parametrize("command", ["::error::boom", "::add-mask::v1"])
def test_a_note_that_is_wrapped_begins_no_line_with_a_command(invoke, attacked, command):
    """A terminal breaks a long word where the line is full."""
    for column in range(30, 40):
        attacked("x" * column + command)

    shown = invoke("table", env={"COLUMNS": "40"})

    assert "x::" in shown.stdout
    assert [] == alarms(shown.output)


@pytest.mark.parametrize("form", [*TEXT_FORMATS, "csv", "json"])
@attempts({name: CONTROL[name] for name in ("eight-bit escape", "right to left", "invisible", "tag characters")})
def test_no_format_has_characters_that_cannot_be_seen(invoke, attacked, form, text):
    r"""They are written as `\\x1b`, or in JSON as `\\u001b`."""
    attacked(text)

    shown = invoke("table", "--format", form)

    assert shown.stdout
    assert [] == alarms(shown.output)


@pytest.mark.parametrize("form", [*TEXT_FORMATS, "json"])
@attempts(CI, but=AT_THE_START)
def test_no_format_has_a_command_of_a_ci_service(invoke, attacked, form, text):
    """Some services look for commands anywhere in a line."""
    attacked(text)

    shown = invoke("table", "--format", form)

    assert shown.stdout
    assert [] == alarms(shown.output)


@attempts(CI)
def test_no_line_of_csv_is_a_command(invoke, attacked, text):
    """A line begins with the name."""
    attacked(text)

    shown = invoke("table", "--format", "csv", "--columns", "variant,latency_ns")

    assert shown.stdout
    assert [] == alarms(shown.output)


def test_json_loses_nothing(invoke, attacked):
    """What is escaped in JSON is the same text once it is parsed."""
    text = "".join((*CONTROL.values(), *LINES.values(), *CI.values()))
    attacked(text)

    rows = json.loads(invoke("table", "--format", "json").stdout)["records"]

    assert text in {row["variant"] for row in rows}
    assert text in {row["error"] for row in rows}


@attempts(FORMULAS)
def test_no_cell_of_csv_is_a_formula(invoke, attacked, text):
    """A spreadsheet shows it with a `'`, and calculates nothing."""
    attacked(text)

    shown = invoke("table", "--format", "csv", "--columns", "variant,latency_ns").stdout

    cells = [row[0] for row in csv.reader(StringIO(shown))]
    assert 4 == len(cells)
    assert not [cell for cell in cells if re.match(r"\s*[=+\-@＝]", cell)]


@attempts(MARKUP, but=("code", "escaped bar"))
def test_markdown_takes_no_markup_from_a_name(invoke, attacked, text):
    """Neither HTML, links, images and mentions, nor cells."""
    attacked(text)

    lines = invoke("table", "--format", "md").stdout.splitlines()

    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")]
    assert 1 == len(set(cells))
    outside_code = [re.sub(r"(?<!\\)`[^`]*`", "", line) for line in lines]
    unescaped = r"(?<!\\)(?:\\\\)*[<`\[*$]|(?<![\w\\])_|&(?!amp;|lt;)|://|www\.|(?<!\w)@\w"
    assert not [line for line in outside_code if re.search(unescaped, line)]


@attempts(LATEX)
def test_latex_runs_no_name(invoke, attacked, text):
    """New lines stay in the comment or cell, and no cell begins with what ends the row above it."""
    attacked(text)

    lines = invoke("table", "--format", "latex").stdout.splitlines()

    assert not [line for line in lines if re.match(r"\s*(\\immediate|\\write|\[|\*)", line)]
    assert any(line.startswith("% ") and ("write18" in line or "v1" in line) for line in lines)


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts and of its commands."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.code = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, *(name for name, _ in attributes)))

    def handle_data(self, data):
        if self.elements[-1:] == [("script", "type")]:
            self.scripts.append(data)
        if self.elements[-1:] == [("code",)]:
            self.code += data


def report(invoke, workspace):
    """The report without the library that draws."""
    pytest.importorskip("vl_convert")
    assert 0 == invoke("report").exit_code
    return re.sub(
        r'<script type="module">.*?</script>', "", (workspace / "report.html").read_text("utf-8"), flags=re.DOTALL
    )


@pytest.mark.slow
@attempts({"a comment": PAGE["comment"], "all": "".join((*PAGE.values(), *CONTROL.values()))})
def test_the_report_has_the_elements_of_a_harmless_one(invoke, workspace, attacked, text):
    """No name ends a script, an attribute or the page; scripts hold no `<` at all, which begins what browsers nest."""
    attacked(text)

    page = report(invoke, workspace)

    assert not [script for script in Page(page).scripts if "<" in script]
    assert {"script", "figure", "table"} <= {element[0] for element in Page(page).elements}
    assert not [element for element in Page(page).elements if "onclick" in element or element == ("script",)]
    assert [] == alarms(page)


@attempts(SHELL)
@pytest.mark.parametrize("field", ["architecture", "device", "options", "padding"])
def test_a_command_of_the_report_is_one_command(make_record, field, text):
    """Each name is a word, and none is an option of its own."""
    from mnbench.report.commands import rerun_commands

    value = {"depth": text} if field == "options" else text
    (command,) = rerun_commands([make_record(**{field: value})])

    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    assert text in " ".join(shlex.split(command))
    assert list(lexer) == shlex.split(command)
    assert not [word for word in shlex.split(command) if word.startswith("--results")]


@attempts(CONTROL, CI, but=(*AT_THE_START, "carriage return", "clear screen"))
def test_a_plot_in_the_terminal_shows_such_names(invoke, attacked, text):
    """Plotext writes what it gets."""
    pytest.importorskip("plotext")
    attacked(text)

    shown = invoke("plot", "mult-adds")

    assert shown.stdout.count("\n") > 10
    assert [] == alarms(shown.output)


@pytest.mark.parametrize("field", ["variant", "architecture", "device"])
def test_a_plot_cuts_a_name_of_a_megabyte(make_record, field):
    """It took longer than 40 s; names that differ at their ends stay different."""
    pytest.importorskip("vl_convert")
    from mnbench.plots.figures import Plot
    from mnbench.plots.terminal import draw_text

    graph = {"architecture": None if field == "variant" else "v1"}
    records = [make_record(1.0, id=end, **graph | {field: "x" * 1_000_000 + end}) for end in "ab"]
    plot = Plot(kind="mult-adds", results=None, records=records)

    assert draw_text(plot).count("xxx… ") > 1
    assert len(plot._repr_svg_()) < 100_000


@attempts({"clipboard": CONTROL["clipboard"], "right to left": CONTROL["right to left"]}, LINES)
@pytest.mark.parametrize(
    "words",
    [
        ("cost", "{}"),
        ("cost", "{}.onnx"),
        ("table", "--host", "{}"),
        ("run", "v1", "--device", "{}"),
        ("gate", "{}.jsonl"),
        ("compare", "v1-a0.25-r32", "{}"),
    ],
    ids=lambda words: " ".join(words).replace("{}", "NAME"),
)
def test_an_error_is_a_line_and_its_hint(invoke, attacked, words, text):
    """Whatever a file, a device or an option is called."""
    attacked("v1-a0.5-r224")

    shown = invoke(*(word.replace("{}", text) for word in words))

    assert 0 != shown.exit_code
    assert [] == alarms(shown.output)
    errors = [line for line in shown.stderr.splitlines() if not line.startswith(("Usage:", "Try ", "Hint: "))]
    assert ["Error"] == [line.partition(":")[0] for line in errors if line]


@attempts(CONTROL, CI, but=("backspace", "bell", "carriage return", *AT_THE_START))
def test_the_layers_of_a_model_are_rows(invoke, workspace, text):
    """Names of nodes are those of whoever made the file."""
    sides = ((kind, [helper.make_tensor_value_info(kind, TensorProto.FLOAT, [1, 3])]) for kind in ("x", "y"))
    (_, inputs), (_, outputs) = sides
    node = helper.make_node("Relu", ["x"], ["y"], name=text)
    model = helper.make_model(
        helper.make_graph([node], text, inputs, outputs), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    onnx.save(model, workspace / "m.onnx")

    shown = invoke("cost", "m.onnx", "--layers")

    assert 0 == shown.exit_code
    assert [] == alarms(shown.output)


@attempts({name: CONTROL[name] for name in ("clipboard", "right to left")}, CI)
def test_a_folder_of_graphs_and_devices_is_listed(invoke, workspace, mine, text):
    """Titles and summaries are those of whoever wrote the files."""
    quoted = json.dumps(text)
    mine.write_text(re.sub(r'title = ".*"', lambda _: f"title = {quoted}", mine.read_text("utf-8")), "utf-8")
    (workspace / "devices").mkdir()
    device = f'name = "mine"\nextends = "cpu"\nsummary = {quoted}\n'
    (workspace / "devices" / "mine.toml").write_text(device, "utf-8")

    for words in (("graphs",), ("graphs", "show", "mine"), ("devices",), ("devices", "show", "mine")):
        shown = invoke(*words)
        assert "Traceback" not in shown.output
        assert [] == alarms(shown.output)


def test_rich_replaces_nothing_in_a_name(invoke, attacked):
    """A title, header or note with the name of an emoji, or with rich's own markup, stays what it is."""
    attacked("[red]x[/red] :bomb:")

    assert "[red]x[/red] :bomb:" in invoke("table", env={"COLUMNS": "300"}).stdout.splitlines()[-1]


def test_the_path_of_a_plot_is_printed_as_it_is(invoke, attacked, workspace):
    """Scripts read it: blanks, quotes and letters of any language stay."""
    pytest.importorskip("vl_convert")
    attacked("v1-a0.5-r224")
    name = "my 図 'plot' (1) ##.json"

    assert f"{name}\n" == invoke("plot", "mult-adds", "-o", name).stdout
    assert (workspace / name).is_file()


@attempts(SHELL)
def test_a_shell_completes_no_name_that_it_would_run(workspace, text):
    """A file of ./graphs or ./devices is called what a stranger likes."""
    from mnbench.cli.param_types import WorkspaceName

    (workspace / "graphs").mkdir()
    (workspace / "graphs" / f"{text.replace('/', '')}.toml").touch()

    values = [item.value for item in WorkspaceName("graphs").shell_complete(None, None, "")]

    assert "v1" in values
    assert not [value for value in values if value.startswith("-") or (value and value != shlex.quote(value))]


@attempts(SHELL, but=("option",))
def test_a_fix_that_doctor_shows_is_one_command(text):
    """A board reports its CPUs, which a command to copy repeats."""
    from mnbench.hosts.noise_sources import noise_sources

    facts = {"core_kinds": {"performance": text}}

    (source,) = [source for source in noise_sources(facts) if source.name == "kinds of core"]

    assert text in shlex.split(source.fix)
