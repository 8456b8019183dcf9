"""What Python's imaplib does with a mailbox. Arguments: host, port, user, mailbox."""

import imaplib
import sys

host, port, user, mailbox = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]


def ok(answer, want=None):
    kind, data = answer
    if kind != "OK" or want is not None and want not in str(data):
        sys.exit("%r, wanted OK and %r" % (answer, want))
    return data


text = b"From: a@example.org\r\nSubject: by imaplib\r\n\r\nHello from Python.\r\n"
m = imaplib.IMAP4(host, port)
ok(m.login(user, "pass"))
ok(m.list('""', "*"), mailbox)
ok(m.myrights(mailbox) if hasattr(m, "myrights") else m.xatom("MYRIGHTS", mailbox))
before = int(ok(m.select(mailbox))[0])
ok(m.append(mailbox, r"(\Flagged)", None, text))
ok(m.append(mailbox, r"(\Seen)", imaplib.Time2Internaldate(1700000000), text))
ok(m.noop())
found = ok(m.uid("SEARCH", "SUBJECT", '"by imaplib"'))[0].split()
if len(found) != 2 or int(ok(m.select(mailbox))[0]) != before + 2:
    sys.exit("found %r" % found)
first, second = found
body = ok(m.uid("FETCH", first, "(FLAGS BODY[])"))[0][1]
if body != text:
    sys.exit("body %r" % body)
ok(m.uid("FETCH", first, "(FLAGS)"), "Seen")
ok(m.uid("FETCH", second, "(INTERNALDATE ENVELOPE BODYSTRUCTURE)"), "2023")
ok(m.uid("STORE", first, "+FLAGS", r"($Work \Answered)"), "$Work")
if ok(m.uid("SEARCH", "KEYWORD", "$Work"))[0].split() != [first]:
    sys.exit("the keyword is not found")
ok(m.uid("COPY", second, mailbox))
ok(m.noop())
last = ok(m.uid("SEARCH", "ALL"))[0].split()[-1]
for uid in (first, second, last):
    ok(m.uid("STORE", uid, "+FLAGS", r"(\Deleted)"))
ok(m.expunge())
if int(ok(m.select(mailbox, readonly=True))[0]) != before:
    sys.exit("messages are left")
ok(m.close())
m.logout()
