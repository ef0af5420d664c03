"""Every lint can fail: one thing is broken at a time in a made-up chapter that passes, and the right rule says so."""

import nbformat
import pytest

from tests.tools import made_up
from tools import chapters, contents, lint, references
from tools.chapters import Chapter, Page


def page(project, lang="en"):
    return Chapter(project.path(lang))


def broken(project, start, old, new, *, lang="en", all_cells=False):
    """Problems after replacing `old` by `new` in the cell that starts so."""
    cells = project.cells if all_cells else [project.find(start)]
    assert any(old in cell[lang] for cell in cells)
    for cell in cells:
        cell[lang] = cell[lang].replace(old, new)
    project.write()
    return lint.check(page(project, lang))


def written(project, text, lang="en"):
    """Problems of a page that holds just this text: the rules for every page, chapter or not."""
    path = project.course / lang / "page.md"
    path.write_text(text, encoding="utf-8")
    return lint.check(Page(path))


def expect(problems, *parts):
    assert any(all(part in problem for part in parts) for problem in problems), problems


def test_a_good_project_is_clean(project):
    pages = lint.all_pages(project.root)
    assert [(p.path.name, p.language) for p in pages] == [
        ("12_arcface.md", "en"),
        ("12_arcface.md", "zh"),
        ("notation.md", "en"),
        ("notation.md", "zh"),
    ]
    assert [problem for p in pages for problem in lint.check(p)] == []
    assert lint.check_project(project.root) == []


# ---- an appendix: a chapter under lighter rules -------------------------------------------------------------------


def test_an_appendix_needs_no_experiment_no_quiz_no_slides(project):
    added = made_up.appendix(project)
    (project.course / "slides").mkdir()
    assert [(p.path.name, p.is_appendix) for p in lint.all_pages(project.root) if isinstance(p, Chapter)] == [
        ("12_arcface.md", False), ("12_arcface.md", False), ("A_arcface.md", True), ("A_arcface.md", True),
    ]  # fmt: skip
    assert [lint.check(page(added, lang)) for lang in ("en", "zh")] == [[], []]
    assert added.gate() == []
    assert any("slides/en/12_arcface.md is missing" in problem for problem in project.gate())
    assert (page(added).number, page(added).stem, len(page(added).exercises)) == ("A", "arcface", 2)
    assert chapters.chosen(["A", "12"], chapters.names(project.course)) == ["A_arcface", "12_arcface"]


@pytest.mark.parametrize(
    ("start", "old", "new", "words"),
    [
        ("## You will", "## You will be able to", "## Goals", "missing ['You will be able to']"),
        ("## Exercises", "## Exercises", "## Tasks", "missing ['Exercises']"),
        ("## Arcs", "## Arcs", "## Experiment", "not canonical ['Experiment']"),
        ("# ArcFace", "../zh/A_arcface.ipynb", "notation.md", "no link to ../zh/A_arcface.ipynb"),
        ("lesson.show", "lesson.show(fig)", "x = 1  # " + 80 * "x", "at most 88"),
        ("**Figure 1", "**Figure 1.**", "Figure:", "without caption"),
        ("### 2", "<summary>Hint", "<summary>Optional: more", "exercise 2: expected <details>"),
        ("check.arcface.ex2", "ex2", "ex1", "solution 2 does not call check.arcface.ex2"),
        ("## Arcs", "We test it.", "See [it](12_arcface.md).", "link to the .ipynb"),
        ("## Arcs", "We test it.", "See [it](A_arcface.md).", "link to the .ipynb"),
    ],
)
def test_and_what_it_does_need(project, start, old, new, words):
    expect(broken(made_up.appendix(project), start, old, new), "en/A_arcface.md", words)


# ---- form ---------------------------------------------------------------------------------------------------------


def test_cells_are_neither_few_nor_many(project):
    cells = list(project.cells)
    project.cells = [cell for cell in cells if cell["en"] not in ("a1 = 1", "b = 1", "c = 1", "guess = None")]
    while len(project.cells) > 34:
        del project.cells[-1]
    project.write()
    expect(lint.check(page(project)), "lengths", "34 cells")
    project.cells = cells + [made_up._code("z = 1") for _ in range(57 - len(cells))]
    project.write()
    expect(lint.check(page(project)), "lengths", "57 cells")


def test_code_cells_are_short(project):
    project.find("a0 = 0")["en"] = "x = 1\n\n" * 30
    project.write()
    assert not any("at most 30" in p for p in lint.check(page(project)))  # blank lines do not count
    project.find("x = 1")["en"] = "x = 1\n" * 31
    project.write()
    expect(lint.check(page(project)), "cell 11", "31 lines of code: at most 30")
    for start in ("a1 = 1", "a2 = 2"):
        project.find(start)["en"] = "y = 1\n" * 21
    project.write()
    expect(lint.check(page(project)), "over 20 lines")
    expect(lint.check(page(project)), "From scratch: 73 lines of code")
    for cell in project.cells:
        cell["en"] = "x = 1\n" * 9 if cell["kind"] == "code" else cell["en"]
    project.write()
    expect(lint.check(page(project)), "median of 9 lines")


@pytest.mark.parametrize("text", ["x = 1  # 间隔", 'print("，")'])
def test_no_han_in_code(project, text):
    project.find("a0 = 0")["en"] = text
    project.write()
    expect(lint.check(page(project)), "lengths", "in a code cell")


@pytest.mark.parametrize(
    ("lang", "start", "old", "new", "message"),
    [
        ("en", "## Intuition", "## Intuition", "## The idea", "missing ['Intuition'], not canonical ['The idea']"),
        ("zh", "## Intuition", "## 直觉", "## 直观", "missing ['直觉']"),
        ("en", "## One question", "arc buy?", "arc buy?" + " word" * 60, "One question: 65 words: expected 1 to 60"),
        ("zh", "## One question", "什么？", "什么？" + "字" * 100, "words: expected 1 to 100"),
        ("en", "## You will", "- turn", "- a\n" * 8 + "- turn", "You will be able to: 9 lines"),
        ("en", "## Intuition", "a circle.", "word " * 201, "Intuition: 204 words"),
        ("en", "## Intuition", "a circle.", "a circle.\n\n$$\nx\n$$", "display formula"),
        ("en", "## Misconceptions", "- two", "", "Misconceptions: 1 list items"),
        ("en", "## Paper card", "|---|---|", "", "Paper card: 0 tables"),
        ("en", "## Where public", "|---|---|", "", "Where public code disagrees: 0 tables"),
        ("en", "## Summary", "It turns.", "a\n\n" * 11, "Summary: 11 lines"),
        ("en", "## Further", "- [Deng et al., 2019](references.md#arcface2019)\n", "", "Further reading: 1 list items"),
        ("en", "## Further", "](references.md#arcface2019)\n", "](notation.md)\n", "no citation key"),
        ("en", "### 2", "### 2 ·", "### 3 ·", "Derivation: steps [1, 3]"),
        ("en", "### 2", "See", "\n## Experiment\n\nSee", "must begin its own cell"),
        ("en", "# ArcFace", "# ArcFace", "ArcFace", "exactly one heading of level 1"),
        ("en", "# ArcFace", "](../zh/12_arcface.ipynb)", "](notation.md)", "no link to ../zh/12_arcface.ipynb"),
        ("en", "# ArcFace", "main/course/en/", "main/course/zh/", "no Colab badge"),
        ("en", "# ArcFace", "tree/course/en/", "tree/course/zh/", "no Binder badge"),
        ("en", "os.chdir", "lesson.start", "lesson.begin", "title and banner"),
        ("zh", "os.chdir", "course/zh", "course/en", "Colab begins in ['en']: expected one line os.chdir"),
        ("en", "os.chdir", "facelearn/course/en", "content", "Colab begins in []"),
    ],
)
def test_sections(project, lang, start, old, new, message):
    expect(broken(project, start, old, new, lang=lang), message)


def test_sections_in_order(project):
    first, second = project.find("## Summary"), project.find("## Misconceptions")
    i, j = project.cells.index(first), project.cells.index(second)
    project.cells[i], project.cells[j] = second, first
    project.write()
    expect(lint.check(page(project)), "sections: missing [], not canonical [], or order")


@pytest.mark.parametrize("text", ["a0 = 0", "print(True)", "b = 1", "c = 1", "guess = None"])
def test_number_of_code_cells_in_a_section(project, text):
    at = next(i for i, cell in enumerate(project.cells) if cell["en"] == text)
    kept = project.cells[at]
    del project.cells[at]
    project.write()
    expect(lint.check(page(project)), "code cells: expected")
    project.cells[at:at] = [kept] * 6
    project.write()
    expect(lint.check(page(project)), "code cells: expected")


def test_there_is_a_figure_to_remember(project):
    project.cells.remove(project.find("lesson.show"))
    project.write()
    expect(lint.check(page(project)), "neither a code cell nor an image")


def test_the_experiment_has_a_verdict(project):
    del project.find("lesson.verdict")["metadata"]["tags"]
    project.write()
    expect(lint.check(page(project)), "nbval-check-output")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("- **B** wrong, because the norm is fixed", "", "question 2: no reason for B"),
        ("wrong, because the norm is fixed", "wrong", "question 2: no reason for B"),
        ("wrong, because the norm", "right, because the norm", "question 2: 2 reasons begin with `right`"),
        ("right, because the angle", "because the angle", "question 2: 0 reasons begin with `right`"),
        ("</summary>\n\n", "</summary>\n", "3 well-formed questions of 4"),
        ("\n\n</details>", "\n</details>", "3 well-formed questions of 4"),
        ("**2.**", "2.", "does not start with"),
        ("- **B.** $y$\n", "", "question 2 has choices ['A']"),
    ],
)
def test_quiz(project, old, new, message):
    expect(broken(project, "**2.**", old, new), "quiz", message)


def test_quiz_has_four_or_five_questions(project):
    cell = project.find("**4.**")
    project.cells.remove(cell)
    project.write()
    expect(lint.check(page(project)), "quiz", "3 well-formed questions")


@pytest.mark.parametrize("new", ['q4="B")', 'q5="")', ")"])
def test_the_quiz_is_a_check_with_all_answers_open(project, new):
    problems = broken(project, "check.arcface.quiz", 'q4="")', new)
    expect(problems, 'quiz_check: Quiz: expected one code cell `check.arcface.quiz(q1="", q2="", q3="", q4="")`')


@pytest.mark.parametrize(
    ("start", "old", "new", "message"),
    [
        ("### 2 · Turn", "★★", "", "expected `2 · title"),
        ("### 2 · Turn", "(15 min)", "", "expected `2 · title"),
        ("### 2 · Turn", "### ", "#### ", "2 headings of level 3"),
        ("def mine(x): ...\n\ncheck.arcface.ex2", "check.arcface.ex2", "check.arcface.ex1", "exercise 2 does not call"),
        ("check.arcface.ex2", "check.arcface.ex2", "check.cosface.ex2", "solution 2 does not call"),
    ],
)
def test_exercises(project, start, old, new, message):
    expect(broken(project, start, old, new), "exercises", message)


def test_solutions_are_tagged_and_folded(project):
    cell = project.find("check.arcface.ex1")
    del cell["metadata"]["jupyter"]
    project.write()
    expect(lint.check(page(project)), "not folded")
    del cell["metadata"]["tags"]
    project.write()
    expect(lint.check(page(project)), "2 cells tagged solution")


@pytest.mark.parametrize(
    ("new", "message"), [("Look there.", "figure without caption"), ("**Figure 2.** It.", "numbered [2]")]
)
def test_captions(project, new, message):
    expect(broken(project, "**Figure 1", "**Figure 1.** The arcs open.", new), "captions", message)


def test_a_chapter_that_was_never_executed_is_read_all_the_same(project):
    project.find("**Figure 1")["en"] = "**Figure 2.** The arcs open."
    project.write()
    (project.course / "en" / "12_arcface.ipynb").unlink()
    expect(lint.check(page(project)), "captions", "numbered [2]")


# ---- what the first chapters taught ---------------------------------------------------------------------------------


def shows(project, output):
    """Problems when the cell `a1 = 1` has this output."""
    project.find("a1 = 1")["outputs"] = [output]
    project.write()
    return lint.check(page(project))


def stream(text):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def html(rows, columns):
    row = "<tr>" + "<td>1</td>" * columns + "</tr>"
    head = "<thead><tr>" + "<th>a</th>" * columns + "</tr></thead>"
    data = {"text/html": f"<table>{head}{row * rows}</table>", "text/plain": "x" * 200}
    return nbformat.v4.new_output("display_data", data=data)


def test_a_source_is_short(project):
    text = project.path("en").read_text(encoding="utf-8")
    lines = text.count("\n")
    project.path("en").write_text(text + "\n" * (620 - lines), encoding="utf-8")
    assert lint.check(page(project)) == []
    project.path("en").write_text(text + "\n" * (621 - lines), encoding="utf-8")
    expect(lint.check(page(project)), "short: 621 lines of source: at most 620")


def test_lines_of_code_and_print_fit_their_column(project):
    project.find("a1 = 1")["en"] = "a1 = 1  # " + "x" * 78
    assert shows(project, stream("x" * 100 + "\n")) == []
    expect(shows(project, stream("short\n" + "x" * 101)), "printed: a printed line of 101 characters")
    project.find("a1 = 1")["en"] += "x"
    expect(shows(project, stream("")), "code_width: a line of code of 89 characters: at most 88")


TALL = "".join(f"m = {i}  eer {i}  tar {i}\n" for i in range(7))
WIDE = "a  b  c  d  e  f\n1  2  3  4  5  6\n"


@pytest.mark.parametrize(
    ("output", "size"),
    [(html(7, 2), "7 rows and 2"), (html(2, 6), "2 rows and 6"), (stream(TALL), "7 rows and 3"),
     (stream("loss  eer  tar\n" + TALL), "7 rows and 3"), (stream(WIDE), "1 rows and 6")],
)  # fmt: skip
def test_printed_tables_are_small(project, output, size):
    expect(shows(project, output), f"printed: a printed table of {size} columns: at most (6, 5)")


@pytest.mark.parametrize(
    "output",
    [html(6, 5), stream("loss  eer  tar\n" + "".join(TALL.splitlines(keepends=True)[1:])),
     stream("a sentence\n" * 9), stream(TALL[:40] + "\n\n" + TALL[:40]), stream("a  b  c  d  e  f\n")],
)  # fmt: skip
def test_ordinary_print_is_no_big_table(project, output):
    assert shows(project, output) == []


def test_the_output_of_the_guess_is_hidden(project):
    guess = project.find("guess = None")
    for spoilt in ({"tags": ["hide-output"]}, {"jupyter": {"outputs_hidden": True}}):
        guess["metadata"] = spoilt
        project.write()
        expect(lint.check(page(project)), "cell 5: hidden_guess: the guess is spoiled")


@pytest.mark.parametrize(("old", "new"), [("Hint", "Answer"), ("<details>", ""), ("Slowly.", "")])
def test_each_exercise_has_a_hint(project, old, new):
    problems = broken(project, "### 2 · Turn it", old, new)
    expect(problems, "hints: exercise 2: expected <details><summary>Hint</summary>")


def test_a_hint_after_the_solution_comes_too_late(project):
    cell = project.find("### 2 · Turn it")
    hint = cell["en"].partition("\n\n<details>")
    cell["en"] = hint[0]
    at = project.cells.index(project.find("check.arcface.ex2")) + 1
    project.cells.insert(at, made_up._both("".join(hint[1:]).strip(), "晚了。"))
    project.write()
    expect(lint.check(page(project)), "hints: exercise 2")


@pytest.mark.parametrize(
    ("start", "old", "new", "message"),
    [
        ("### 2 · Look", "### 2 · Look", "### 2 · ★ Look", "expected an optional step to be `### 9 · title ★`"),
        ("### 2 · Look", "### 2 · Look", "### 2 · Look ★★", "expected an optional step to be"),
        ("## Ablation", "Without.", "<details><summary>More</summary>\n\nx\n\n</details>", "<summary>More: expected"),
        ("## Ablation", "Without.", "<details><summary>Optional: x</summary>\nx\n\n</details>", "blank lines inside"),
    ],
)
def test_what_is_optional_is_marked_one_way(project, start, old, new, message):
    expect(broken(project, start, old, new), "optional: ", message)


def test_an_optional_step_and_an_optional_part(project):
    part = "<details><summary>Optional: more</summary>\n\nx\n\n</details>"
    assert broken(project, "### 2 · Look", "### 2 · Look", "### 2 · Look ★") == []
    assert broken(project, "## Ablation", "Without.", part) == []


def test_few_disagreements_are_shown(project):
    rows = "| 1 | 2 |"
    assert broken(project, "## Where", rows, "\n".join([rows] * 5)) == []
    expect(
        broken(project, "## Where", rows, f"{rows}\n{rows}", all_cells=False), "disagreements: ", "10 rows: at most 5"
    )


# ---- formulas -----------------------------------------------------------------------------------------------------

BLOCK = "$$\n{}\n$$"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BLOCK.format(r"a \tag{1}"), r"\tag does not render"),
        (BLOCK.format(r"a \label{eq:a}"), r"\label does not render"),
        (r"see $\eqref{a}$ there", r"\eqref does not render"),
        (r"$\newcommand\a{b}$", r"\newcommand does not render"),
        (r"$\operatorname{sg}(x)$", r"\operatorname does not render"),
        ("$$a$$", "$$ must stand on a line of its own"),
        ("text $$\na\n$$", "$$ must stand on a line of its own"),
        ("$$\na", "an unpaired $$"),
        ("a($x$)", "before the opening $"),
        ("a**$x$**", "before the opening $"),
        ("$x$s", "after the closing $"),
        ("$x$2", "after the closing $"),
        ("$ x$ here", "no blank inside"),
        ("$x + $ here", "no blank inside"),
        ("it costs $5", "an unpaired $"),
        ("$a +\nb$", "an unpaired $"),
        ("$间隔$", "Han outside"),
        (r"$\{a\}$", "Markdown changes the formula"),
        (r"$a \, b$", "Markdown changes the formula"),
        (r"$\|x\|$", "Markdown changes the formula"),
        (r"$\mathbf{x}_{i}$ and $\mathbf{w}_{j}$", "Markdown changes the formula"),
        ("$a*b$ and $c*d$", "Markdown changes the formula"),
        ("$a <b> c$", "Markdown changes the formula"),
        ("$[a](b)$", "Markdown changes the formula"),
        ("| a | b |\n|---|---|\n| $|x|$ | 2 |", "Markdown changes the formula"),
        (BLOCK.format("a\n\n+ b"), "Markdown tears the display formula"),
        (BLOCK.format("a\n- b"), "Markdown tears the display formula"),
        ("**Done.**So", "raw asterisks"),
    ],
)
def test_formulas_that_github_does_not_render(project, text, message):
    expect(written(project, text), message)


@pytest.mark.parametrize(
    "text",
    [
        r"$\lbrace a \rbrace$, $a \thinspace b$ and $\lVert x \rVert$ in the unit ball.",
        r"$x_i$ and $w_j$, $p_{ij}$: the angle ($\theta$).".replace("($", "( $"),
        BLOCK.format(r"\begin{aligned}" + "\n" + r"a &= \{b\} \\" + "\n" + r"&= c \," + "\n" + r"\end{aligned}"),
        "| a | b |\n|---|---|\n| $\\vert x \\vert$ | $y$ |",
        "`$x` and ```$$``` in code, and `{` too.",
        "```\n$$a$$ **b.**c \\tag\n```",
        "**Done**: so it is.",
        "- item\n\n  $$\n  a\n  $$",
    ],
)
def test_formulas_that_github_renders(project, text):
    assert written(project, text) == []


# ---- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("先算余弦,再取对数。", "half-width punctuation"),
        ("先算余弦.", "half-width punctuation"),
        ("用 softmax, 然后看。", "half-width punctuation"),
        ("余弦(夹角)很小。", "half-width parenthesis"),
        ('他说"好"。', "straight quote"),
        ("等等...再说", "three dots"),
        ("间隔m很小。", "no blank between Han and a word"),
        ("取0.5弧度。", "no blank between Han and a word"),
        ("用`cos`算。", "no blank between Han and a word"),
        ("用 **ArcFace**的人。", "no blank between Han and a word"),
        ("间隔 很小。", "two Han characters"),
        ("先看 ，再说。", "blank next to full-width"),
        ("先看， 再说。", "blank next to full-width"),
        ("间隔$m$ 很小。", "before the opening $"),
        ("先看，$m$ 很小。", "before the opening $"),
        ("**结论。**所以", "raw asterisks"),
        ("这个边距很大。", "'边距': the glossary has '间隔'"),
        ("**裕度**：大。", "'裕度': the glossary has '间隔'"),
    ],
)
def test_chinese_prose(project, text, message):
    expect(written(project, text, lang="zh"), message)


@pytest.mark.parametrize(
    "text",
    [
        "间隔 $m$ 取 0.5 弧度，即 `margin=0.5`；尺度 $s$ 取 30（见 [ArcFace](notation.md)）。",
        "- **结论**：用 **ArcFace** 时，范数不变。",
        "先看， $m$ 很小；再看（ $s$ 很大），“如此”……",
        "| 名称 | 数值 |\n|---|---|\n| （无） | 1.5 |",
        "`边距` 是代码，不算。",
        "准确率 99.5%，误差 ±0.2，比例 3:1。",
    ],
)
def test_good_chinese_prose(project, text):
    assert written(project, text, lang="zh") == []


def test_english_prose_has_no_chinese_rules(project):
    assert written(project, "A name (李明), here: 边距 is a wrong term.") == []


@pytest.mark.parametrize("text", ["in /srv/data/faces", "in `/tmp/x`", "see ~/data/x", "C:\\data", "at /home/ann"])
def test_absolute_paths(project, text):
    expect(written(project, text), "absolute path")
    project.find("a0 = 0")["en"] = f"x = r'{text}'"
    project.write()
    expect(lint.check(page(project)), "cell 11: absolute_paths")


@pytest.mark.parametrize(
    "text", ["TAR/FAR/EER", "https://x.org/home/ann", "$a/b/c$", "[x](../zh/notation.md)", "and/or"]
)
def test_ordinary_slashes(project, text):
    assert written(project, text) == []


# ---- links --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[x](nowhere.md)", "no such file"),
        ("[x](notation.md#nothing)", "no such heading"),
        ("[x](#nothing)", "no such heading"),
        ('[x](#nothing)\n\n<a id="something"></a>\n\n# Some thing', "no such heading"),
        ("[x](12_arcface.md)", "link to the .ipynb"),
        ("[x](../../../other/x.md)", "leaves the repository"),
        ("[x](references.md#nobody1999)", "no such key"),
        ("[x](references.md)", "no such key"),
        ("![](notation.md)", "no description"),
        ("![a picture of it](../assets/no.png)", "no such file"),
        ("<img src='no.png'>", "no such file"),
    ],
)
def test_broken_links(project, text, message):
    expect(written(project, text), "links", message)


@pytest.mark.parametrize(
    "text",
    [
        "[x](12_arcface.ipynb#numerical-traps)",
        "# From scratch\n\n[x](#from-scratch)",
        '[x](#place-1)\n\n<a id="place-1"></a>\n\n# From scratch',
        "[x](12_arcface.ipynb#against-facelearn)",
        "[x](notation.md)",
    ],
)
def test_good_links(project, text):
    assert written(project, text) == []


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("NormFace (chapter 12, not written yet) is", "en"),
        ("It is introduced again (chapters 10 and 12, not written yet).", "en"),
        ("Chapter 12, not yet written, will", "en"),
        ("见第 12 章，尚未写成。", "zh"),
        ("第 10、12 章尚未写出。", "zh"),
        ("（第 12 章，未写）", "zh"),
    ],
)
def test_a_chapter_that_is_there_is_not_called_unwritten(project, text, lang):
    expect(written(project, text, lang), "unwritten: chapter 12 is called unwritten")
    assert not any("unwritten" in problem for problem in written(project, text.replace("12", "11"), lang))


def test_urls_follow_the_one_setting(project):
    (project.root / "README.md").write_text(
        "git clone https://github.com/facelearn/facelearn.git\n[x](https://github.com/facelearn/facelearn/issues)\n"
        "[other](https://github.com/deepinsight/insightface)\n![](https://raw.githubusercontent.com/a/b/main/c.png)\n",
        encoding="utf-8",
    )
    assert lint.check_project(project.root) == []
    settings = project.root / "pyproject.toml"
    text = settings.read_text(encoding="utf-8").replace("facelearn/facelearn", "ann/loss-course")
    settings.write_text(text, encoding="utf-8")
    stale = lint.check_project(project.root)
    for name in ["README.md", "12_arcface.md", "12_arcface.ipynb"]:
        expect(stale, name, "expected ann/loss-course")
    assert len(lint.fix_urls(project.root)) == 5
    assert lint.check_project(project.root) == []
    assert lint.fix_urls(project.root) == []
    assert (project.root / "README.md").read_text(encoding="utf-8") == (
        "git clone https://github.com/ann/loss-course.git\n[x](https://github.com/ann/loss-course/issues)\n"
        "[other](https://github.com/deepinsight/insightface)\n![](https://raw.githubusercontent.com/a/b/main/c.png)\n"
    )
    assert [problem for p in lint.all_pages(project.root) for problem in lint.check(p)] == []


def test_an_address_that_is_none_is_refused(project):
    (project.root / "pyproject.toml").write_text('[project.urls]\nRepository = "x"\n', encoding="utf-8")
    with pytest.raises((ValueError, KeyError)):
        lint.check_project(project.root)
    text = '[project]\n[project.urls]\nRepository = "https://example.org/a"\n'
    (project.root / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="Repository"):
        lint.check_project(project.root)


def test_references_pages_are_generated(project):
    path = project.course / "zh" / "references.md"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    expect(lint.check_project(project.root), "zh/references.md", "tools/references.py")


def test_the_readme_says_which_chapters_there_are(project):
    plan = "number,needs,en,zh\n11,,CosFace,CosFace\n12,11,ArcFace,ArcFace\n"
    (project.course / "chapters.csv").write_text(plan, encoding="utf-8")
    path = project.root / "README.md"
    path.write_text("a <!-- chapters -->2 of 2<!-- /chapters --> b\n", encoding="utf-8")
    expect(lint.check_project(project.root), "README.md", "tools/contents.py")
    (fresh,) = contents.pages(project.root).values()
    assert "1 of 2 chapters are written (12); the others follow in the same form.<!--" in fresh
    path.write_text(fresh, encoding="utf-8")
    assert not [problem for problem in lint.check_project(project.root) if "contents" in problem]
    made_up.appendix(project)
    assert contents.state(project.course, "zh") == "计划 2 章，已写成 1 章（12），其余会以同样的形式陆续补上。附录：A。"
    (project.course / "chapters.csv").write_text(plan.replace("11,,CosFace,CosFace\n", ""), encoding="utf-8")
    assert contents.state(project.course, "en") == "All 1 chapters are written. Appendix: A."


@pytest.mark.parametrize(
    "text",
    [
        "@misc{a,\n  title = {A},\n  year = {2019},\n}\n",  # no author
        "@misc{a,\n  author = {A}, title = {A}, year = {2019}}\n",  # not one field per line
    ],
)
def test_a_malformed_bibliography_is_refused(tmp_path, text):
    path = tmp_path / "references.bib"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"references\.bib"):
        references.read_bib(path)


def test_an_entry_is_rendered_with_its_link(tmp_path):
    path = tmp_path / "references.bib"
    path.write_text(
        "@inproceedings{k2019,\n  author = {Deng, Jiankang and Guo, Jia},\n  title = {{ArcFace}: a loss},\n"
        "  booktitle = {CVPR},\n  year = {2019},\n  eprint = {1801.07698},\n}\n",
        encoding="utf-8",
    )
    assert references.render(references.read_bib(path), "zh") == (
        "# 参考文献\n\n## k2019\n\nJiankang Deng, Jia Guo. *ArcFace: a loss*. CVPR, 2019. "
        "[arXiv 1801.07698](https://arxiv.org/abs/1801.07698).\n"
    )
