import pytest
import torch

from facelearn.data import ImageSet, contact_sheet, subset, to_float


def test_to_float_covers_minus_one_to_one() -> None:
    assert to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx([-1.0, -0.6, 1.0])
    with pytest.raises(ValueError, match=r"images: found torch.float32, expected torch.uint8"):
        to_float(torch.zeros(3))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2).long(), r"images: found torch.float32 \(2, 1, 4, 4\)"),
        (torch.zeros(2, 4, 4).byte(), torch.zeros(2).long(), r"images: found torch.uint8 \(2, 4, 4\)"),
        (
            torch.zeros(2, 1, 4, 4).byte(),
            torch.zeros(3).long(),
            r"labels: found torch.int64 \(3,\), expected .*\(2,\)",
        ),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2), "labels: found torch.float32"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.tensor([0, -1]), "labels: found -1, expected none below 0"),
    ],
)
def test_refuses_what_is_no_labelled_image(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageSet(images, labels)


def test_works_with_a_data_loader() -> None:
    images = torch.arange(6 * 4, dtype=torch.uint8).view(6, 1, 2, 2)
    loader = torch.utils.data.DataLoader(ImageSet(images, torch.arange(6)), batch_size=4)
    batches = list(loader)
    assert torch.equal(torch.cat([x for x, _ in batches]), to_float(images))
    assert torch.cat([y for _, y in batches]).tolist() == [0, 1, 2, 3, 4, 5]


def test_contact_sheet_places_images_row_by_row() -> None:
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    sheet = contact_sheet(images, 3)
    assert sheet.shape == (4, 6, 3)
    assert sheet[::2, ::2, 0].tolist() == [[0, 1, 2], [3, 4, 255]]
    padded = contact_sheet(images, 3, pad=1)
    assert padded.shape == (5, 8, 3)
    assert padded[2].eq(255).all()
    assert padded[3, 3, 0] == 4


@pytest.mark.parametrize(("columns", "pad"), [(0, 0), (2, -1)])
def test_contact_sheet_refuses(columns: int, pad: int) -> None:
    with pytest.raises(ValueError, match=r"(columns|pad): found (0|-1)"):
        contact_sheet(torch.zeros(1, 3, 2, 2).byte(), columns, pad)


def test_subset_numbers_its_people_anew() -> None:
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
    people = ImageSet(images, torch.tensor([3, 0, 3, 1, 5, 5]))
    several = subset(people, people.labels.bincount()[people.labels] >= 2)
    assert several.images.flatten().tolist() == [0, 2, 4, 5]
    assert several.labels.tolist() == [0, 0, 1, 1]
    assert subset(people, torch.tensor([4, 1])).labels.tolist() == [1, 0]
    for chosen in (torch.tensor([True]), torch.tensor([[1]]), torch.tensor([0.5])):
        with pytest.raises(ValueError, match=r"chosen: found torch\.\w+ .*expected torch.bool \(6,\) or torch.int64"):
            subset(people, chosen)
