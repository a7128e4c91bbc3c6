"""Ten files as people have them, made for these tests in the shapes of real exports; every text in them is made up."""

from __future__ import annotations

import io
import json

import openpyxl

_TEXTS = [
    "The room was spotless and the staff could not have been kinder.",
    "Stopped working after two days; nobody answers my mails.",
    "It is what it is. Delivery took a week.",
    "Great value, I would buy it again!",
]


def excel_semicolons() -> bytes:
    """Excel's CSV where a comma is the decimal sign: a line ``sep=;``, a byte order mark, CRLF."""
    rows = [f'{number};{number},5;"{text}"' for number, text in enumerate(_TEXTS, 1)]
    return "\r\n".join(["sep=;", "Nr;Note;Comment", *rows, ""]).encode("utf-8-sig")


def app_store_latin1() -> bytes:
    """An export of an app store in Windows-1252, with accents and curly quotation marks."""
    rows = [
        f'2025-03-0{number},{5 - number},"Zoë’s café app","{text} Très bien – “super”."'
        for number, text in enumerate(_TEXTS, 1)
    ]
    return "\r\n".join(["Date,Rating,Title,Review", *rows, ""]).encode("cp1252")


def hotel_two_columns() -> bytes:
    """A booking site's: what was liked and what was not in two columns, either of which may be empty."""
    rows = [
        'Hotel A,8.3,2025-01-05,"Lovely breakfast, quiet room","The lift was out of order"',
        "Hotel A,9.6,2025-01-09,Everything,",
        "Hotel B,4.2,2025-02-01,,Dirty bathroom and rude staff",
    ]
    return "\n".join(["Hotel_Name,Score,Date,Positive_Review,Negative_Review", *rows, ""]).encode()


def shop_json_lines() -> bytes:
    """A shop's reviews, one object a line, whose fields differ."""
    rows = [
        {"reviewerID": f"A{number}", "asin": "B00", "helpful": [number, 3], "reviewText": text, "overall": 5.0 - number}
        | ({"image": ["x.jpg"]} if number % 2 else {})
        for number, text in enumerate(_TEXTS)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def play_store() -> bytes:
    """A store's console: tab-free CSV with many columns, most of them empty, emoji, line breaks in texts."""
    header = (
        "Package Name,App Version Code,Reviewer Language,Device,Review Submit Date and Time,Star Rating,Review Title,"
        "Review Text,Developer Reply Text,Review Link"
    )
    rows = [
        f'com.example.app,{40 + n},en,pixel,2025-03-0{n + 1}T10:00:00Z,{n + 1},,"{text}\n👍 Thanks!",,http://localhost/{n}'
        for n, text in enumerate(_TEXTS)
    ]
    return "\n".join([header, *rows, ""]).encode()


def nested_array() -> bytes:
    """An answer of somebody's API that was saved: an array of objects with objects in them, indented."""
    rows = [
        {"id": number, "author": {"name": "N. N.", "country": "NZ"}, "review": {"text": text, "stars": number}}
        for number, text in enumerate(_TEXTS, 1)
    ]
    return json.dumps(rows, indent=2).encode()


def survey_with_title() -> bytes:
    """A survey tool's: a title, a date and a blank line above the header."""
    rows = [f'{number},Porto,"{text}"' for number, text in enumerate(_TEXTS, 1)]
    lines = ["Customer survey 2025,,", "Exported 2025-04-01,,", ",,", "Respondent,City,Comments", *rows, ""]
    return "\n".join(lines).encode()


def tabs_and_quotes() -> bytes:
    """Values between tabs, with quotation marks that stand for themselves in the midst of texts."""
    rows = [f'{number}\t{text} He said "no way" and a 24" screen.' for number, text in enumerate(_TEXTS, 1)]
    return "\n".join(["id\treview", *rows, ""]).encode()


def text_per_line() -> bytes:
    """One text a line."""
    return "\n".join([*_TEXTS, ""]).encode()


def two_sheets() -> bytes:
    """A workbook with a sheet of notes behind the reviews."""
    book, file = openpyxl.Workbook(), io.BytesIO()
    sheet = book.worksheets[0]
    sheet.title = "Reviews"
    for row in [("Date", "Shop", "Feedback"), *(("2025-01-01", "Leeds", text) for text in _TEXTS)]:
        sheet.append(row)
    book.create_sheet("Notes").append(("exported by", "N. N."))
    book.save(file)
    return file.getvalue()
