from cam_repro.formats.names import image_id, image_ids, is_image, is_xml, name_of


def test_names_of_images():
    assert [is_image(n) for n in ("a.JPEG", "a.jpg", "a.PNG", "a.b.jpeg")] == [True] * 4
    assert [is_image(n) for n in ("a.xml", "JPEG", "._a.JPEG", ".JPEG", "a.JPEG.part")] == [
        False
    ] * 5
    assert image_id("n1/a.b.JPEG", nested=False) == "a.b"
    assert image_id("n1/a.b.JPEG", nested=True) == "n1/a.b"
    assert image_id("a.b", nested=False) == "a.b"  # a name of a ground truth, without a suffix


def test_names_of_xml_files():
    assert [is_xml(n) for n in ("a.xml", "a.b.xml", ".a.xml", "a.XML", "xml")] == [
        *(True, True, False, True, False)
    ]


def test_a_name_has_neither_folder_nor_suffix():
    names = ["val/a.JPEG", "a.b.png", "a.b", "n1/n1_2"]
    assert [name_of(name) for name in names] == ["a", "a.b", "a.b", "n1_2"]


def test_ids_keep_their_folders_where_names_repeat():
    assert image_ids(["cat/1.jpg", "dog/1.jpg"]) == (["cat/1", "dog/1"], True)
    assert image_ids(["cat/1.jpg", "dog/2.jpg"]) == (["1", "2"], False)
