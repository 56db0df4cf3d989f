"""Tables and trees of data sets: read as they come, or told by name."""

import os

import pytest

from pig.core.errors import InputError
from pig.data.readers.listing import files_below, fit_name, known, read_table, read_tables


def test_a_table_is_text_without_spaces_and_newlines_around_it(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfid , path\n007,"a/b\n"\n,  x \n')
    assert read_table(path, ["id", "path"]).to_numpy().tolist() == [["007", "a/b"], ["", "x"]]
    path.write_text("id;path\n1;2,5\n")
    assert read_table(path, ["path"], ";")["path"].tolist() == ["2,5"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'id,path\n1,"2\n', "CSV"),
        (b"id;path\n1;2\n", "','"),
        (b"id\n1\n", "'path'"),
    ],
)
def test_what_is_no_such_table_is_one_line(tmp_path, content, named):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{path}: .*{named}") as error:
        read_table(path, ["id", "path"])
    assert "\n" not in str(error.value)


def test_the_part_is_that_of_the_name(tmp_path):
    names = ["boxes-train-v2.csv", "mass_test_set.csv", "boxes-validation.csv", "other.csv"]
    for name in names:
        (tmp_path / name).write_text("id\n1\n")
    table = read_tables([tmp_path / name for name in names], ["id"])
    assert table["part"].tolist() == ["train", "test", "validation", ""]


def test_a_tree_is_walked_in_order_past_links_in_circles_and_hidden_files(tmp_path):
    for name in ("b/2.dcm", "b/1.dcm", "a.csv", ".DS_Store", "b/._1.dcm", ".cache/3.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.symlink(tmp_path, tmp_path / "b" / "again")
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]
    assert found == ["a.csv", "b/1.dcm", "b/2.dcm"]


def test_names_fit_and_words_are_from_the_list():
    assert fit_name("a b/../c:d") == "a_b_.._c_d"
    assert fit_name("../x") == "_x"
    assert fit_name("..") == "_"
    assert known(["MALIGNANT", "Jane Doe", "benign"], ("benign", "malignant")) == "benign+malignant"
