"""
What happens when: every fault that a provider, the network or we ourselves can cause.

This is a document first. It is read by the tests of this folder, which run every case at every
provider against a server that really misbehaves, and it is printed into the README, so neither
can say what the other does not. Its words are in `rules.py`.

Three rules hold for every case, so no case repeats them. *Cancelled* is never shown unless the
provider said or shows so. Where nobody knows, it is read 5 s, 30 s, 2, 5 and 15 minutes after the
request, and then a person is asked. And what may have been carried out is never sent again where
that could mail somebody twice.

A case reads: name, words for the README (none: said with another), fault, code of the cause.
"""

from __future__ import annotations

from datetime import timedelta

from tests.faults.rude import (
    Bombs,
    BreaksOnReuse,
    Closes,
    Cuts,
    Drips,
    Floods,
    Forgets,
    Hangs,
    Lags,
    NameNotFound,
    NameTakesTooLong,
    NoFreeConnection,
    Redirects,
    Refuses,
    Resets,
    ResetsAtOnce,
    Says,
    SilentHandshake,
    StuckWhileSending,
    Twists,
    Works,
    WrongCertificate,
)
from tests.faults.rules import (
    CARE,
    CONFIRMED,
    CONFIRMED_ON_REPEAT,
    FAILS,
    FORGOTTEN,
    GOES_ON,
    GONE,
    HUSKY,
    MAY_NOT_LOOK,
    MEETERGO,
    MIJN,
    NOBODY_KNOWS,
    NOT_BELIEVED,
    PROVIDERS,
    SILENT,
    UNSEEN,
    Case,
    Chapter,
    Course,
    Elsewhere,
    Listing,
    already,
    busy,
    confirmed,
    not_sent,
    refused,
    turned_away,
    unknown,
)
from tests.faults.twists import (
    PROOF,
    TEXT,
    at_date,
    broken_row,
    each,
    empty,
    ever_new_pages,
    first_page_for_ever,
    in_seconds,
    long_number,
    more,
    more_in_place,
    no,
    odd_word,
    put,
    raw,
    same_but_text,
    someone_elses,
    still_booked,
    twice,
    twice_but_older,
    without,
    without_the_first,
)


def _lower_first(words: str) -> str:
    return words[0].lower() + words[1:]


CANCELS = "tests/services/test_cancel.py"
KILL = "tests/crash/test_kill.py"
PEOPLE = "tests/browser/test_two_people.py"
BY_READING = (
    "Settled by reading; sent once more only at MijnKlantportaal and HuskyVoice, if it is still "
    "booked"
)
FAILING = "Stays as it was, *failing since 10:42*"
AS_BEFORE = "Nothing new: the row stays as it was read last"
NOTHING_SENT = "Nothing was to be sent"
AS_USUAL = "Goes on as usual"


CHAPTERS: tuple[Chapter, ...] = (
    Chapter(
        happens="It cannot be reached, so nothing left us",
        read="*Waiting for …*: nothing was done there yet; in the end *Not sent*: nobody was told",
        again="By itself, three times within half a minute; after that only by you",
        refresh=FAILING,
        cases=(
            not_sent("connection-refused", "nobody listens", Refuses(), "connection"),
            not_sent("name-not-found", "its name leads nowhere", NameNotFound(), "name_lookup"),
            not_sent(
                "name-takes-too-long",
                "its name is looked up for ever",
                NameTakesTooLong(),
                "deadline",
            ),
            not_sent("wrong-certificate", "it cannot prove who it is", WrongCertificate(), "tls"),
            not_sent(
                "timeout-before-sending",
                "it lets us in and never says hello",
                SilentHandshake(),
                "deadline",
            ),
            not_sent(
                "no-free-connection",
                "all our own connections are taken",
                NoFreeConnection(),
                "deadline",
            ),
        ),
    ),
    Chapter(
        happens="The request left us, and no whole answer came back",
        read="*Outcome unknown, we are checking*",
        again=BY_READING,
        refresh=FAILING,
        cases=(
            unknown(
                "timeout-after-applying",
                "it cancels and never answers",
                Hangs(applied=True),
                "deadline",
            ),
            unknown(
                "timeout-without-applying", "it does nothing and never answers", Hangs(), "deadline"
            ),
            unknown(
                "stuck-while-sending",
                "our request is stuck half way",
                StuckWhileSending(),
                "deadline",
            ),
            unknown(
                "reset-at-the-door",
                "the connection breaks before a word is read",
                ResetsAtOnce(),
                "connection",
            ),
            unknown("reset-before-applying", "it breaks before it cancels", Resets(), "connection"),
            unknown(
                "reset-after-applying",
                "it breaks after it cancelled",
                Resets(applied=True),
                "connection",
            ),
            unknown(
                "reset-in-the-middle",
                "it breaks in the middle of its answer",
                Resets(applied=True, midway=True),
                "connection",
            ),
            unknown("closed-without-a-word", "it hangs up without a word", Closes(), "connection"),
            unknown(
                "dripping-headers",
                "its answer drips in too slowly to ever end (head or body)",
                Drips(part="headers"),
                "deadline",
            ),
            unknown("dripping-body", "", Drips(part="body"), "deadline"),
            unknown(
                "cut-with-a-length",
                "its answer is cut off, announced or not",
                Cuts(how="length"),
                "connection",
            ),
            unknown("cut-in-chunks", "", Cuts(how="chunks"), "connection"),
            unknown("cut-without-a-length", "", Cuts(how="nothing"), "broken_json"),
        ),
    ),
    Chapter(
        happens="It has a fault on its side",
        read="*Outcome unknown, we are checking*",
        again=BY_READING,
        refresh=FAILING,
        cases=(
            *(
                unknown(
                    f"{status}-{'after' if applied else 'before'}-applying",
                    f"{status}" if applied else "",
                    Says(
                        status=status,
                        applied=applied,
                        body=no(status, code="INTERNAL_ERROR"),
                        headers={"Retry-After": "1"} if status == 503 else {},
                    ),
                    "server_fault" if status >= 500 else "undocumented_status",
                )
                for status in (408, 500, 502, 503, 504)
                for applied in (True, False)
            ),
            unknown(
                "202-not-yet-applied",
                "202, which promises nothing",
                Says(status=202, body={"message": "Accepted"}),
                "undocumented_status",
            ),
        ),
    ),
    Chapter(
        happens="It answers, but not with anything documented",
        read="*Outcome unknown, we are checking*",
        again=BY_READING,
        refresh="The page is not believed. " + FAILING,
        cases=(
            unknown(
                "invalid-json",
                "broken JSON",
                Twists(change=raw(b'{"id": "abc", "status": canceled')),
                "broken_json",
            ),
            unknown(
                "web-page",
                "a web page, whatever its status",
                Says(status=200, body="<!doctype html><h1>Welcome</h1>"),
                "not_json",
            ),
            *(
                unknown(
                    f"web-page-{status}",
                    "",
                    Says(status=status, body="<!doctype html><h1>Sorry</h1>"),
                    "not_json",
                    run_why="not_json" if status in (401, 403) else "undocumented_status",
                )
                for status in (400, 401, 403, 404, 409)
            ),
            unknown(
                "wrong-type",
                "text that only looks like JSON",
                Twists(change=same_but_text, headers={"Content-Type": "text/plain; charset=utf-8"}),
                "not_json",
            ),
            unknown(
                "200-with-an-error",
                "a yes with an error in it",
                Says(status=200, body=no(500)),
                "unreadable_answer",
                why_at={CARE: "not_success"},
            ),
            unknown(
                "200-with-nothing",
                "an empty yes",
                Says(status=200, body=b"", headers={"Content-Type": "application/json"}),
                "broken_json",
            ),
            unknown("204", "", Says(status=204, applied=True), "undocumented_status"),
            unknown(
                "200-still-booked",
                "a yes that shows it booked",
                Twists(change=still_booked),
                "not_cancelled",
                why_at={
                    MEETERGO: "not_as_asked",
                    CARE: "not_success",
                    HUSKY: "still_booked",
                },
                answer_only=True,
            ),
            unknown(
                "another-booking",
                "a yes about another booking",
                Twists(change=someone_elses),
                "other_id",
                at=(MIJN, MEETERGO, HUSKY),
                answer_only=True,
            ),
            unknown(
                "field-missing",
                "a yes without the field that says so, or with null in it",
                Twists(change=without(PROOF)),
                "unreadable_answer",
                why_at={MIJN: "not_cancelled", CARE: "not_success"},
                answer_only=True,
            ),
            unknown(
                "field-null",
                "",
                Twists(change=put({slug: (name, None) for slug, name in PROOF.items()})),
                "unreadable_answer",
                why_at={MIJN: "not_cancelled", CARE: "not_success"},
                answer_only=True,
            ),
            unknown(
                "unknown-word",
                "a word that no documentation has",
                Twists(change=put({slug: (name, "gone?") for slug, name in PROOF.items()})),
                "not_cancelled",
                why_at={
                    MEETERGO: "unreadable_answer",
                    CARE: "not_success",
                    HUSKY: "still_booked",
                },
                answer_only=True,
            ),
            unknown(
                "nul",
                "characters or numbers that break other programs",
                Twists(change=put({slug: (key, "a\x00b") for slug, key in TEXT.items()})),
                "unreadable_answer",
                answer_only=True,
            ),
            unknown(
                "lone-surrogate",
                "",
                Twists(change=put({slug: (key, "a\ud800b") for slug, key in TEXT.items()})),
                "unreadable_answer",
                answer_only=True,
            ),
            unknown("deep-json", "", Twists(change=raw(b'{"data":' * 100_000)), "broken_json"),
            unknown("long-number", "", Twists(change=long_number), "broken_json"),
            unknown("flood", "a hundred megabytes, of which it reads one", Floods(), "too_large"),
            unknown("gzip-bomb", "a packed answer that unfolds without end", Bombs(), "encoded"),
        ),
    ),
    Chapter(
        happens="It sends us to another address",
        read="*Outcome unknown, we are checking*",
        again="Nobody goes there. " + BY_READING,
        refresh=FAILING,
        cases=(
            *(
                unknown(f"redirect-{status}", str(status), Redirects(status=status), "redirected")
                for status in (301, 302, 303, 307, 308)
            ),
            unknown(
                "redirect-after-applying", "", Redirects(status=303, applied=True), "redirected"
            ),
            unknown(
                "redirect-to-nonsense",
                "",
                Redirects(status=302, location="http://[::"),
                "connection",
            ),
        ),
    ),
    Chapter(
        happens="It does not accept our key, or the key may not do this",
        read="*Refused by …*, why, and *It is still booked*. Ask an administrator",
        again="Never",
        refresh=FAILING + ". The other providers go on",
        cases=(
            refused(
                "401",
                "401",
                Says(status=401, body=no(401, code="UNAUTHORIZED")),
                "credentials",
                look=MAY_NOT_LOOK,
            ),
            refused(
                "403-scope",
                "403",
                Says(status=403, body=no(403, code="INSUFFICIENT_SCOPE")),
                "permission",
                look=MAY_NOT_LOOK,
                run_why="access_denied",
            ),
            refused(
                "403-empty",
                "",
                Says(status=403),
                "permission",
                why_at={HUSKY: "policy"},
                look=MAY_NOT_LOOK,
                run_why="access_denied",
            ),
        ),
    ),
    Chapter(
        happens="It says no, and a second look shows it still booked",
        read="*Refused by …*, why, and *It is still booked*",
        again="Never by itself; you may mend the cause and ask again",
        refresh=FAILING,
        cases=(
            refused(
                "403-policy",
                "its rules do not allow it",
                Says(status=403, body=no(403, code="CANCELLATION_NOT_ALLOWED")),
                "policy",
                at=(HUSKY,),
                answer_only=True,
            ),
            refused(
                "400",
                "it does not accept the request (400, 422)",
                Says(status=400, body=no(400)),
                "invalid",
                why_at={CARE: "email"},
                run_why="undocumented_status",
            ),
            refused(
                "422",
                "",
                Says(status=422, body=no(422)),
                "invalid",
                why_at={CARE: "other", HUSKY: "policy"},
                run_why="undocumented_status",
            ),
            refused(
                "404",
                "it says 404",
                Says(status=404, body=no(404, code="NOT_FOUND")),
                "not_found",
                look=GONE,
                look_at={CARE: UNSEEN},
                run_why="undocumented_status",
            ),
            refused(
                "409",
                "it says that something is in the way (409, not at MijnKlantportaal)",
                Says(status=409, body=no(409)),
                "other",
                why_at={HUSKY: "policy"},
                run_why="undocumented_status",
                at=(MEETERGO, CARE, HUSKY),
            ),
        ),
        elsewhere=(
            Elsewhere(
                words="by its clock it is too late (the dialog warns before, and lets you try)",
                proofs=(
                    f"{CANCELS}::test_huskyvoice_policy_refusal_is_shown_as_refused",
                    "tests/browser/test_cancel.py::test_huskyvoice_with_a_policy_warning",
                ),
            ),
        ),
    ),
    Chapter(
        happens="It says no, and the second look does not show it booked",
        read="*It was already cancelled*, if it shows so; otherwise *Outcome unknown, "
        "we are checking*",
        again="Never where it is gone or cannot be read; then it is for a person",
        refresh=AS_USUAL,
        cases=(
            already(
                "409-already",
                "MijnKlantportaal says that it was cancelled before (409)",
                Says(status=409, applied=True, body=no(409)),
                "said_already",
                at=(MIJN,),
                answer_only=True,
            ),
            already(
                "no-but-cancelled",
                "it says no, and shows it cancelled",
                Says(status=400, applied=True, body=no(400)),
                "said_already",
                answer_only=True,
            ),
            unknown(
                "no-and-gone",
                "it says 404, and does not show it any more: *probably cancelled*, for a person",
                Says(status=404, body=no(404, code="NOT_FOUND")),
                "refused_and_gone",
                then=Forgets(),
                settles=dict.fromkeys(PROVIDERS, FORGOTTEN),
                answer_only=True,
            ),
            unknown(
                "no-and-unreadable",
                "it says no, and cannot be read",
                Says(status=400, body=no(400)),
                "refused_unreadable",
                then=Says(status=503, body=no(503)),
                settles=dict.fromkeys(PROVIDERS, SILENT),
                answer_only=True,
            ),
        ),
    ),
    Chapter(
        happens="After an unclear answer, reading does not help either",
        read="*Outcome unknown, we are checking*, then *A person has to find out*",
        again=BY_READING,
        refresh=AS_USUAL,
        cases=(
            unknown(
                "silent-from-then-on",
                "it cannot be read for half an hour",
                Resets(applied=True),
                "connection",
                then=Resets(),
                settles=dict.fromkeys(PROVIDERS, SILENT),
                answer_only=True,
            ),
            unknown(
                "forgotten-from-then-on",
                "it shows it no more: *probably cancelled*",
                Resets(applied=True),
                "connection",
                then=Forgets(),
                settles=dict.fromkeys(PROVIDERS, FORGOTTEN),
                answer_only=True,
            ),
            (  # A second cancel is harmless here, and its answer proves the first.
                unknown(
                    "reader-lags",
                    "it goes on showing what was before",
                    Resets(applied=True),
                    "connection",
                    then=Lags(),
                    settles={
                        # A second cancel is harmless here, and its answer proves the first.
                        MIJN: Course(ending=CONFIRMED_ON_REPEAT, answers=("unknown", "already")),
                        HUSKY: Course(ending=CONFIRMED, answers=("unknown", "ok")),
                        MEETERGO: NOBODY_KNOWS,
                        CARE: NOBODY_KNOWS,
                    },
                    answer_only=True,
                )
            ),
        ),
    ),
    Chapter(
        happens="It is busy",
        read="*Waiting for …*: it is busy, and when the next try is; in the end *Not sent*",
        again="Once, by itself, when it asked for; after that only by you",
        refresh=FAILING + ". Never sooner than it asked for, up to an hour",
        cases=(
            busy(
                "429",
                "it does not say how long",
                Says(status=429, body=no(429)),
                "rate_limited",
                waits={MIJN: 60, MEETERGO: 30, CARE: 60, HUSKY: 30},
            ),
            busy(
                "429-seconds",
                "it gives seconds",
                in_seconds("23"),
                "rate_limited",
                waits=dict.fromkeys(PROVIDERS, 23),
            ),
            busy(
                "429-date",
                "it gives a time",
                at_date(ahead=timedelta(0)),
                "rate_limited",
                waits=dict.fromkeys(PROVIDERS, 30),
            ),
            busy(
                "429-date-by-a-wrong-clock",
                "its clock is an hour wrong",
                at_date(ahead=timedelta(hours=1)),
                "rate_limited",
                waits=dict.fromkeys(PROVIDERS, 30),
            ),
        ),
    ),
    Chapter(
        happens="It is busy and asks for more than two minutes, or for nonsense",
        read="*Not sent*: the request was turned away, and nobody was told",
        again="Only by you",
        refresh=FAILING,
        cases=(
            *(
                turned_away(
                    f"429-{name}",
                    words,
                    in_seconds(value),
                    "rate_limited",
                    waits=dict.fromkeys(PROVIDERS, 86400 if name == "a-day" else 120),
                )
                for name, words, value in (
                    ("a-day", "a day", "86400"),
                    ("overflow", "an absurd number", "9" * 30),
                    ("negative", "", "-5"),
                    ("nan", "", "NaN"),
                    ("a-word", "no number at all", "soon"),
                    ("past", "a time gone by", "Mon, 07 Dec 2015 09:00:00 GMT"),
                )
            ),
            turned_away(
                "429-quota",
                "its daily quota is used up",
                Says(status=429, body=no(429, code="DAILY_QUOTA_EXCEEDED")),
                "quota",
                at=(HUSKY,),
            ),
        ),
    ),
    Chapter(
        happens="It answers oddly, but clearly",
        read="*Cancelled*, with the time at which it confirmed",
        again="Nothing: it is done",
        refresh=AS_USUAL + "; after a stale connection, *failing since 10:42* until the next try",
        cases=(
            confirmed("no-fault", "all is well", Works(), refresh=GOES_ON),
            confirmed(
                "extra-field",
                "there are fields nobody documented",
                Twists(change=more),
                refresh=GOES_ON,
            ),
            (  # Of the four, only meetergo shows a small book in one request.
                confirmed(
                    "stale-keep-alive",
                    "a kept-alive connection is stale (a cancellation never uses one)",
                    BreaksOnReuse(),
                    refresh=FAILS,
                    refresh_at={MEETERGO: GOES_ON},
                    run_why="connection",
                )
            ),
        ),
    ),
    Chapter(
        happens="A listing has records that make no sense",
        read=AS_BEFORE,
        again=NOTHING_SENT,
        refresh="The record is set aside and counted; all others are read",
        listings=(
            *(
                Listing(
                    name=f"record-{name}",
                    words=words,
                    fault=Twists(change=change),
                    refresh=GOES_ON,
                    rejected=1,
                )
                for name, words, change in (
                    ("without-an-id", "no id, or no time", broken_row("id", gone=True)),
                    ("with-null-for-an-id", "", broken_row("id")),
                    ("without-a-time", "", broken_row("start", gone=True)),
                    ("nul", "characters that cannot be kept", broken_row("text", "a\x00b")),
                    ("lone-surrogate", "", broken_row("text", "a\ud800b")),
                )
            ),
            Listing(
                name="extra-fields",
                words="fields nobody documented (which are passed over)",
                fault=Twists(change=each(more_in_place)),
                refresh=GOES_ON,
            ),
            Listing(
                name="twice",
                words="the same one twice (which counts once, as it was changed last)",
                fault=Twists(change=twice),
                refresh=GOES_ON,
            ),
            Listing(
                name="twice-but-older",
                words="",
                fault=Twists(change=twice_but_older),
                refresh=GOES_ON,
                at=(MEETERGO, CARE, HUSKY),
            ),
        ),
    ),
    Chapter(
        happens="A listing has a status that no documentation names",
        read="The provider's own word; it cannot be cancelled from here. At CareValidate, "
        "whatever is listed is booked",
        again=NOTHING_SENT,
        refresh=AS_USUAL,
        listings=(
            Listing(
                name="unknown-status",
                words="",
                fault=Twists(change=each(odd_word)),
                refresh=GOES_ON,
                at=(MIJN, HUSKY),
                status="other",
            ),
            Listing(
                name="unknown-status-where-words-do-not-count",
                words="",
                fault=Twists(change=each(odd_word)),
                refresh=GOES_ON,
                at=(CARE,),
            ),
        ),
    ),
    Chapter(
        happens="A listing turns in circles or never ends",
        read=AS_BEFORE,
        again=NOTHING_SENT,
        refresh="Given up, at the latest after 200 pages. " + FAILING,
        listings=(
            Listing(
                name="pages-loop",
                words="the same page again and again",
                fault=Twists(change=first_page_for_ever),
                refresh=FAILS,
                why="pages_loop",
                at=(MEETERGO, HUSKY),
            ),
            Listing(
                name="pages-without-end",
                words="new pages without end",
                fault=Twists(change=ever_new_pages),
                refresh=FAILS,
                why="pages_loop",
                at=(MEETERGO, HUSKY),
            ),
        ),
    ),
    Chapter(
        happens="Bookings are missing from a listing",
        read="As before, if it can be read by itself; otherwise *no longer listed*. Never "
        "*cancelled*",
        again=NOTHING_SENT,
        refresh="If more than a fifth is gone at once, the listing is not believed, *failing since "
        "10:42*; otherwise each missing one is read by itself",
        listings=(
            Listing(
                name="empty-list",
                words="more than a fifth of them, and at least twenty",
                fault=Twists(change=empty),
                refresh=NOT_BELIEVED,
                why="suspicious",
                bookings=25,
            ),
            Listing(
                name="one-is-missing",
                words="a few, which can be read by themselves",
                fault=Twists(change=without_the_first),
                refresh=GOES_ON,
            ),
            Listing(
                name="missing-and-unreadable",
                words="a few, which cannot",
                fault=Forgets(),
                where="look",
                refresh=GOES_ON,
                status="gone",
            ),
        ),
    ),
    Chapter(
        happens="A listing contradicts what was cancelled here",
        read="*Cancelled*; if a later listing still shows it booked, *Confirmed, but listed as "
        "booked again*, for a person",
        again="Nothing by itself",
        refresh="What a listing says that began before the cancellation is not believed",
        elsewhere=(
            Elsewhere(
                words="it began before the cancellation",
                proofs=("tests/faults/test_sync.py::test_a_listing_that_began_before",),
            ),
            Elsewhere(
                words="it goes on showing it; at CareValidate that is normal for ten minutes",
                proofs=(
                    "tests/faults/test_sync.py::test_a_yes_that_no_listing_bears_out",
                    "tests/services/test_sync.py::"
                    "test_carevalidate_may_linger_and_is_reported_only_after_ten_minutes",
                ),
            ),
        ),
    ),
    Chapter(
        happens="It cannot be read just before sending, for any of the reasons above",
        read="*Waiting for …*: it cannot be read at the moment; in the end *Not sent*",
        again="Nothing is sent unseen. Read again by itself for ten minutes, then only by you",
        refresh=FAILING,
        elsewhere=(
            Elsewhere(
                words="",
                proofs=(
                    "tests/faults/test_cancel.py::test_a_fault_before_sending",
                    "tests/faults/test_cancel.py::test_a_provider_that_cannot_be_read_for_ten_minutes",
                ),
            ),
        ),
    ),
    Chapter(
        happens="The booking is another one by now",
        read="*It was already cancelled*, or *Withdrawn, nothing was sent*, and what changed",
        again="Never",
        refresh=AS_USUAL,
        elsewhere=(
            Elsewhere(
                words="somebody cancelled it at the provider",
                proofs=(
                    f"{CANCELS}::test_what_was_cancelled_meanwhile_is_found_and_nothing_is_sent",
                ),
            ),
            Elsewhere(
                words="its time, its people or its status changed",
                proofs=(
                    f"{CANCELS}::test_a_moved_appointment_is_withdrawn_and_nothing_is_sent",
                    f"{PEOPLE}::"
                    "test_a_booking_moved_at_the_provider_is_not_cancelled_at_its_new_time",
                ),
            ),
            Elsewhere(
                words="the page was older than that",
                proofs=(
                    f"{CANCELS}::test_a_stale_page_is_told_and_nothing_is_recorded",
                    f"{PEOPLE}::test_a_stale_page_is_told_keeps_the_text_and_shows_what_is_now",
                ),
            ),
        ),
    ),
    Chapter(
        happens="Somebody clicks twice, or two people click",
        read="The one outcome; the second person reads who was faster, and when",
        again="Sent once",
        refresh=AS_USUAL,
        elsewhere=(
            Elsewhere(
                words="a double click, *back*, the form sent again",
                proofs=(
                    f"{CANCELS}::test_the_same_form_twice_is_one_intent",
                    f"{PEOPLE}::test_however_she_presses_it_twice_it_is_sent_once",
                    f"{PEOPLE}::test_back_after_the_outcome_offers_nothing_to_send",
                ),
            ),
            Elsewhere(
                words="two people, or two tabs",
                proofs=(
                    f"{CANCELS}::test_a_second_person_sees_who_was_faster",
                    f"{PEOPLE}::test_two_people_who_click_at_once_make_one_cancellation",
                    f"{PEOPLE}::test_two_tabs_with_a_dialog_each_make_one_cancellation",
                ),
            ),
        ),
    ),
    Chapter(
        happens="The session ends while the dialog is open",
        read="The dialog stays, and leads to the login in a new tab; without scripts, the login, "
        "which leads back to the dialog",
        again="Nothing was recorded; press the button again",
        refresh=AS_USUAL,
        elsewhere=(
            Elsewhere(
                words="",
                proofs=(
                    f"{PEOPLE}::"
                    "test_an_expired_session_is_said_in_the_dialog_and_no_login_lands_in_it",
                    f"{PEOPLE}::"
                    "test_without_scripts_the_login_leads_back_to_the_form_and_nothing_is_replayed",
                    "tests/views/test_access.py::"
                    "test_a_script_without_a_session_gets_an_address_and_no_page",
                ),
            ),
        ),
    ),
    Chapter(
        happens="The worker dies",
        read="As before, if nothing had left us; otherwise *Outcome unknown, we are checking*",
        again="The next worker goes on. What may have been sent is " + _lower_first(BY_READING),
        refresh="The next one begins anew",
        elsewhere=(
            Elsewhere(
                words="before the click is recorded, before it sends, while it sends or after it",
                proofs=(
                    f"{KILL}::test_killed_before_the_intent_is_committed_nothing_happened",
                    f"{KILL}::test_killed_after_the_intent_is_committed_it_is_carried_out_once",
                    f"{KILL}::test_killed_before_the_claim_the_next_worker_sends_it",
                    f"{KILL}::"
                    "test_killed_before_the_request_was_whole_only_a_harmless_repeat_is_sent",
                    f"{KILL}::test_killed_after_the_request_a_read_confirms_it",
                    f"{KILL}::test_killed_after_the_answer_is_stored_it_stays_confirmed",
                ),
            ),
            Elsewhere(
                words="in the middle of a batch",
                proofs=("tests/services/test_batch.py::test_a_crash_resumes_with_the_rest",),
            ),
        ),
    ),
    Chapter(
        happens="No worker runs",
        read="A warning above the list; on the outcome, that nothing was sent, and from when on "
        "nothing will be",
        again="Never after ten minutes: an old click does not fire later",
        refresh="Stays as it was",
        elsewhere=(
            Elsewhere(
                words="",
                proofs=(
                    "tests/views/test_list.py::test_a_silent_worker_is_said",
                    f"{PEOPLE}::test_without_a_worker_list_and_outcome_say_so_within_a_minute",
                    f"{CANCELS}::test_nothing_is_sent_after_its_lifetime",
                ),
            ),
        ),
    ),
    Chapter(
        happens="The portal's own database cannot be written",
        read="Before sending: an error, and nothing is recorded. After it: *Sending*, until the "
        "answer is recorded",
        again="Without a record nothing is sent. An answer is kept in a file and brought back",
        refresh="Stays as it was",
        elsewhere=(
            Elsewhere(
                words="",
                proofs=(
                    "tests/services/test_spill.py::test_the_answer_comes_back_and_confirms",
                    "tests/services/test_spill.py::test_without_a_database_the_file_stays",
                    "tests/crash/test_database_gone.py::"
                    "test_a_click_with_no_database_records_nothing_and_can_be_sent_again",
                    "tests/crash/test_database_gone.py::"
                    "test_an_answer_that_nobody_can_record_waits_in_a_file",
                ),
            ),
        ),
    ),
    Chapter(
        happens="The power fails",
        read="As when the worker dies: what was clicked is on the disk before anything is sent",
        again="What may have been sent is " + _lower_first(BY_READING),
        refresh="The next one begins anew",
        elsewhere=(
            Elsewhere(
                words="",
                proofs=(
                    "tests/crash/test_power_loss.py::"
                    "test_intent_and_call_are_committed_before_the_first_byte_leaves",
                    "tests/crash/test_power_loss.py::"
                    "test_the_worker_commits_over_a_connection_that_forces_it_to_the_disk",
                ),
            ),
        ),
    ),
    Chapter(
        happens="Redis is down",
        read="Nothing of it: the ledger is the queue, and the worker looks into it by itself",
        again="As always",
        refresh=AS_USUAL,
        elsewhere=(
            Elsewhere(
                words="",
                proofs=(
                    "tests/crash/test_redis_gone.py::"
                    "test_without_redis_a_click_is_recorded_quickly_and_carried_out",
                    "tests/crash/test_redis_gone.py::"
                    "test_without_redis_an_unknown_outcome_is_settled_too",
                ),
            ),
        ),
    ),
)


def all_cases() -> list[Case]:
    return [case for chapter in CHAPTERS for case in chapter.cases]


def all_listings() -> list[Listing]:
    return [listing for chapter in CHAPTERS for listing in chapter.listings]
