package imapclient_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
)

// FuzzResponses has a server say anything. It may break the connection, and
// nothing else.
func FuzzResponses(f *testing.F) {
	for _, seed := range []string{
		"* OK hello\r\nR1 OK\r\n",
		"* PREAUTH [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n* 3 EXISTS\r\n* 2 EXPUNGE\r\n* FLAGS (\\Seen x)\r\nR1 OK [READ-ONLY]\r\n",
		"* OK\r\n* 1 FETCH (UID 2 FLAGS (\\Seen) BODY[1.MIME]<3> {4}\r\nabcd MODSEQ (7) X (a {1}\r\nb))\r\nR1 NO [TRYCREATE] no\r\n",
		"* OK\r\n* SEARCH 1 2 (MODSEQ 3)\r\n* ESEARCH (TAG \"R1\") UID COUNT 2 ALL 1:4294967295\r\nR1 BAD\r\n",
		"* OK\r\n* LIST (\\Noselect) \"/\" &AOQ-\r\n* LSUB () NIL {3}\r\nabc\r\n* STATUS a (MESSAGES 1 UNSEEN 2)\r\nR1 OK\r\n",
		"* OK\r\n* ACL a b lr \"c d\" lrs\r\n* MYRIGHTS a lrx\r\n* LISTRIGHTS a b l r s\r\nR1 OK [COPYUID 1 2:3 4:5] x\r\n",
		"* OK\r\n* 1 FETCH (ENVELOPE (NIL {3}\r\na)b (\"\\\"\")) BODYSTRUCTURE ((1)) INTERNALDATE \" 1-Jan-2026 00:00:00 +0000\")\r\n+ x\r\n",
		"* OK\r\n* SORT 3 1 2 (MODSEQ 7)\r\n* SORT\r\n* ESEARCH (TAG \"R1\") UID MIN 3 ALL 3,1:2,9:7 COUNT 3 MODSEQ 8\r\nR1 OK\r\n",
		"* OK\r\n* THREAD (2)(3 6 (4 23)(44 7 96))((3)(5))\r\n* THREAD\r\n* THREAD ()\r\nR1 OK\r\n",
		"* BYE [UNAVAILABLE] later\r\n",
		"* OK\r\n* 1 FETCH (EMAILID (M1) THREADID NIL SAVEDATE NIL PREVIEW {2}\r\nab BINARY.SIZE[1.2] 7 BINARY[1]<2> ~{2}\r\n\x00b)\r\n* STATUS a (MAILBOXID (F-_))\r\nR1 OK\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		client, server := net.Pipe()
		go func() {
			go func() { _, _ = io.Copy(io.Discard, server) }()
			_, _ = server.Write(said)
			_ = server.Close()
		}()
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		cfg := imapclient.Config{Limits: imapwire.Limits{Line: 4096, Literal: 1024, Drain: 1 << 20}}
		c, err := imapclient.New(ctx, client, cfg)
		if err != nil {
			return
		}
		h := readAll()
		status, err := c.Do(ctx, h, atom("NOOP"))
		if err == nil && (status == nil || status.Kind != imapclient.OK && status.Kind != imapclient.Preauth) {
			t.Fatalf("no error, but %+v", status)
		}
		if err != nil && c.Broken() == nil && imap.CodeOf(err) == "" && imap.AsError(err).Text == "" {
			t.Fatalf("an error without words: %#v", err)
		}
		if ctx.Err() != nil {
			t.Fatal("took too long")
		}
	})
}

// readAll is a Handler that looks at everything.
func readAll() *imapclient.Handler {
	return &imapclient.Handler{
		Status:        func(*imapclient.Status) {},
		Exists:        func(uint32) {},
		Expunge:       func(imap.SeqNum) {},
		Flags:         func([]imap.Flag) {},
		Search:        func(imap.UIDSet, imap.ModSeq) {},
		Sort:          func([]imap.Range, imap.ModSeq) {},
		Thread:        func([]imap.ThreadMember) {},
		List:          func(*imapclient.ListData) {},
		MailboxStatus: func(*imapclient.StatusData) {},
		ACL:           func([]imap.ACLEntry) {},
		MyRights:      func(imap.Rights) {},
		ListRights:    func(imap.GrantableRights) {},
		Fetch:         func(*imapclient.FetchData) error { return nil },
		Section: func(_ *imapclient.FetchData, s *imapclient.SectionData) error {
			_, err := io.Copy(io.Discard, s.Body)
			return err
		},
	}
}
