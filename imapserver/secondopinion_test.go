package imapserver

import (
	"slices"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// TestSecondOpinion lets a client that others wrote read what we write.
func TestSecondOpinion(t *testing.T) {
	ts := newTestServer(t, nil)
	exists := make(chan uint32, 10)
	expunged := make(chan uint32, 10)
	client := dialOther(t, ts, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				exists <- *data.NumMessages
			}
		},
		Expunge: func(seq uint32) { expunged <- seq },
	}})
	box, err := client.Select("INBOX", nil).Wait()
	if err != nil || box.NumMessages != 0 || box.UIDValidity != 1 {
		t.Fatal(box, err)
	}
	idle, err := client.Idle()
	if err != nil {
		t.Fatal(err)
	}
	other := dialOther(t, ts, nil)
	text := "From: Ann <ann@example.org>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello\r\n"
	for _, flags := range [][]goimap.Flag{{goimap.FlagSeen}, {"$Label"}} {
		appendOther(t, other, text, flags)
	}
	for n := uint32(0); n != 2; {
		select {
		case n = <-exists:
		case <-time.After(testTimeout):
			t.Fatal("nothing heard in IDLE")
		}
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(); err != nil {
		t.Fatal(err)
	}
	fetchOther(t, client, text)
	searchOther(t, client)
	moveOther(t, client)
	if n := <-expunged; n != 1 {
		t.Errorf("expunged %d", n)
	}
	if err := client.Logout().Wait(); err != nil {
		t.Fatal(err)
	}
}

func dialOther(t *testing.T, ts *testServer, options *imapclient.Options) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(ts.addr, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Login("ann", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

func appendOther(t *testing.T, c *imapclient.Client, text string, flags []goimap.Flag) {
	t.Helper()
	cmd := c.Append("INBOX", int64(len(text)), &goimap.AppendOptions{Flags: flags, Time: time.Unix(1700000000, 0)})
	if _, err := cmd.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := cmd.Wait(); err != nil || data.UIDValidity != 1 {
		t.Fatal(data, err)
	}
}

func fetchOther(t *testing.T, c *imapclient.Client, text string) {
	t.Helper()
	section := &goimap.FetchItemBodySection{}
	msgs, err := c.Fetch(goimap.SeqSetNum(1, 2), &goimap.FetchOptions{
		UID: true, Flags: true, Envelope: true, InternalDate: true, RFC822Size: true,
		BodyStructure: &goimap.FetchItemBodyStructure{Extended: true},
		BodySection:   []*goimap.FetchItemBodySection{section},
	}).Collect()
	if err != nil || len(msgs) != 2 {
		t.Fatal(msgs, err)
	}
	m := msgs[1]
	if m.UID != 2 || m.SeqNum != 2 || m.Envelope.Subject != "Grüße" || m.RFC822Size != int64(len(text)) ||
		string(m.FindBodySection(section)) != text || m.BodyStructure.MediaType() != "text/plain" ||
		!m.InternalDate.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("%+v", m)
	}
	if !slices.Contains(m.Flags, "$Label") || !slices.Contains(m.Flags, goimap.FlagSeen) {
		t.Errorf("flags %v", m.Flags)
	}
}

func searchOther(t *testing.T, c *imapclient.Client) {
	t.Helper()
	criteria := &goimap.SearchCriteria{Flag: []goimap.Flag{"$Label"}, Body: []string{"hello"}}
	data, err := c.UIDSearch(criteria, &goimap.SearchOptions{ReturnAll: true, ReturnCount: true}).Wait()
	if err != nil || data.Count != 1 || data.All.String() != "2" {
		t.Fatalf("%+v, %v", data, err)
	}
}

func moveOther(t *testing.T, c *imapclient.Client) {
	t.Helper()
	if err := c.Create("Entwürfe/2", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	list, err := c.List("", "*", nil).Collect()
	if err != nil || len(list) != 3 || list[0].Mailbox != "Entwürfe" || list[0].Delim != '/' {
		t.Fatal(list, err)
	}
	moved, err := c.Move(goimap.UIDSetNum(1), "Entwürfe/2").Wait()
	if err != nil || moved.DestUIDs == nil {
		t.Fatal(moved, err)
	}
	status, err := c.Status("Entwürfe/2", &goimap.StatusOptions{NumMessages: true, UIDNext: true}).Wait()
	if err != nil || *status.NumMessages != 1 || status.UIDNext != 2 {
		t.Fatal(status, err)
	}
	ns, err := c.Namespace().Wait()
	if err != nil || len(ns.Personal) != 1 || ns.Other[0].Prefix != "shared/" {
		t.Fatal(ns, err)
	}
}
