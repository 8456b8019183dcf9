package main

import (
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	goimapclient "github.com/emersion/go-imap/v2/imapclient"
)

// TestGoIMAP has the go-imap client work on an own and on a shared mailbox.
func TestGoIMAP(t *testing.T) {
	w := newClientWorld(t)
	heard := make(chan uint32, 100)
	c, err := goimapclient.DialInsecure(w.rig.address(), &goimapclient.Options{UnilateralDataHandler: &goimapclient.UnilateralDataHandler{
		Mailbox: func(data *goimapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				heard <- *data.NumMessages
			}
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("someone2", "pass").Wait(); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]uint32{"INBOX": 5, clientShared: 12} {
		goIMAPReads(t, c, name, n)
		goIMAPChanges(t, c, n)
		goIMAPRemoves(t, c, name, n)
	}
	if _, err := c.Select(clientShared, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	w.append(t, w.owner, "Work", "While go-imap idles")
	for n := uint32(0); n != 13; {
		select {
		case n = <-heard:
		case <-time.After(patience):
			t.Fatal("nothing heard in IDLE")
		}
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(); err != nil {
		t.Fatal(err)
	}
}

func goIMAPReads(t *testing.T, c *goimapclient.Client, name string, n uint32) {
	t.Helper()
	box, err := c.Select(name, nil).Wait()
	if err != nil || box.NumMessages != n {
		t.Fatalf("%s: %+v, %v", name, box, err)
	}
	section := &goimap.FetchItemBodySection{Peek: true}
	messages, err := c.Fetch(goimap.SeqSet{{Start: 1}}, &goimap.FetchOptions{
		UID: true, Flags: true, Envelope: true, RFC822Size: true, InternalDate: true,
		BodyStructure: &goimap.FetchItemBodyStructure{Extended: true}, BodySection: []*goimap.FetchItemBodySection{section},
	}).Collect()
	if err != nil || len(messages) != int(n) {
		t.Fatalf("%s: %d messages, %v", name, len(messages), err)
	}
	for _, m := range messages {
		if m.RFC822Size != int64(len(m.FindBodySection(section))) || m.Envelope.From[0].Mailbox != "ann" || m.BodyStructure.MediaType() != "text/plain" {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func goIMAPChanges(t *testing.T, c *goimapclient.Client, n uint32) {
	t.Helper()
	flag := &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Flags: []goimap.Flag{goimap.FlagFlagged, goimap.FlagSeen}}
	messages, err := c.Store(goimap.SeqSetNum(1, n), flag, nil).Collect()
	if err != nil || len(messages) != 2 || len(messages[0].Flags) < 2 {
		t.Fatalf("%+v, %v", messages, err)
	}
	found, err := c.Search(&goimap.SearchCriteria{Flag: []goimap.Flag{goimap.FlagSeen}, Body: []string{"A text"}}, nil).Wait()
	if err != nil || len(found.AllSeqNums()) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
}

func goIMAPRemoves(t *testing.T, c *goimapclient.Client, name string, n uint32) {
	t.Helper()
	copied, err := c.Copy(goimap.SeqSetNum(2), name).Wait()
	if err != nil || copied.UIDValidity == 0 {
		t.Fatal(copied, err)
	}
	uids := copied.DestUIDs
	deleted := &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Silent: true, Flags: []goimap.Flag{goimap.FlagDeleted}}
	if err := c.Store(uids, deleted, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.UIDExpunge(uids).Close(); err != nil {
		t.Fatal(err)
	}
	status, err := c.Status(name, &goimap.StatusOptions{NumMessages: true, NumUnseen: true}).Wait()
	if err != nil || *status.NumMessages != n || *status.NumUnseen != n-2 {
		t.Fatal(status, err)
	}
}
