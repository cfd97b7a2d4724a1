"""The text to mail: the service's words, with the link in its place and without the password."""

from app.client.mail_text import mail_with_link

PAGE, LINK, PASSWORD = "https://host/s/x", "https://host/s/x#sealed.y", "0000-1111-2222-3333"


def completed(text):
    return mail_with_link(text, place=PAGE, link=LINK, password=PASSWORD)


def test_the_link_takes_the_place_of_the_page():
    assert completed(f"Subject: x\n{PAGE}\nbye\n") == f"Subject: x\n{LINK}\nbye\n"


def test_a_text_that_nobody_should_mail_is_none():
    """An older service writes none; one that was altered could add the password."""
    for text in (None, 1, "", "no link", f"{PAGE} {PAGE}", f"{PAGE}\n{PASSWORD}"):
        assert completed(text) is None
