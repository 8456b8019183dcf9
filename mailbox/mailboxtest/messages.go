package mailboxtest

import (
	"strings"
	"time"
)

// someDate is the internal date of messages that need none in particular.
var someDate = time.Date(2026, 2, 2, 23, 30, 0, 0, time.FixedZone("", 3600))

const shortMessage = "From: Ann Owner <ann@example.org>\r\n" +
	"To: Bob <bob@example.net>\r\n" +
	"Cc: carol@example.net\r\n" +
	"Date: Mon, 2 Feb 2026 10:00:00 +0100\r\n" +
	"Subject: Lunch\r\n" +
	"Message-ID: <1@example.org>\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: text/plain; charset=us-ascii\r\n" +
	"Content-Transfer-Encoding: 7bit\r\n" +
	"\r\n" +
	"Shall we have soup?\r\n"

const (
	shortEnvelope = `("Mon, 2 Feb 2026 10:00:00 +0100" "Lunch"` +
		` (("Ann Owner" NIL "ann" "example.org"))` +
		` (("Ann Owner" NIL "ann" "example.org"))` +
		` (("Ann Owner" NIL "ann" "example.org"))` +
		` (("Bob" NIL "bob" "example.net"))` +
		` ((NIL NIL "carol" "example.net")) NIL NIL "<1@example.org>")`
	shortBody          = `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 21 1)`
	shortBodyStructure = `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 21 1 NIL NIL NIL NIL)`
)

// nestedMessage has a text, a base64 attachment and a message in it.
var nestedMessage = strings.ReplaceAll(`From: ann@example.org
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
Date: Tue, 3 Mar 2026 08:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Zw=F6lf =DCbungen
--outer
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: base64

c2VjcmV0IHJlY2lwZQ==
--outer
Content-Type: message/rfc822

From: carol@example.net
Subject: inner
Content-Type: text/plain; charset=us-ascii

deep thought

--outer--
`, "\n", "\r\n")

// The parts of nestedMessage as BODY[...] shows them.
const (
	nestedPart1 = "Zw=F6lf =DCbungen"
	nestedMIME1 = "Content-Type: text/plain; charset=iso-8859-1\r\n" +
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
	nestedPart2       = "c2VjcmV0IHJlY2lwZQ=="
	nestedInnerHeader = "From: carol@example.net\r\n" +
		"Subject: inner\r\n" +
		"Content-Type: text/plain; charset=us-ascii\r\n\r\n"
	nestedInnerText = "deep thought\r\n"
)
