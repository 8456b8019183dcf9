package store

import (
	"context"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/message"
)

// TestKeysOfOldDigests: digests from before there were keys give the same ones.
func TestKeysOfOldDigests(t *testing.T) {
	s := New(testOptions(t))
	defer s.Close() //nolint:errcheck // the check below sees what is wrong
	dir := t.TempDir()
	a := mustOpen(t, s, dir, owner)
	texts := []string{
		mail(1), "\r\nno header", "References: <a@x>\r\n <b@x>\r\nSubject: Re: [x] y\r\nMessage-ID: <c@x>\r\n\r\n",
		"From: =?utf-8?q?=C3=84?= <b@x>\r\nTo: c@x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nReferences: <no@x>\r\n\r\n\r\n--b--\r\n",
	}
	for _, text := range texts {
		if _, err := a.Append(context.Background(), "INBOX", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)})); err != nil {
			t.Fatal(err)
		}
	}
	m, err := a.Open(context.Background(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // never fails
	find := newSearcher(context.Background(), m.(*handle))
	defer find.close()
	found := 0
	_, err = find.find(&imap.SearchKey{Op: imap.SearchAll}, true, func() error {
		found++
		k, err := find.sortKeys()
		if err != nil {
			return err
		}
		want := *k
		find.keys = message.Keys{}
		find.content.digest.EncodedKeys = nil
		if err := find.readKeys(); err != nil {
			return err
		}
		if !reflect.DeepEqual(clean(find.keys), clean(want)) {
			t.Errorf("message %d: got %+v, want %+v", find.row.uid, find.keys, want)
		}
		return nil
	})
	if err != nil || found != len(texts) {
		t.Fatalf("%d found: %v", found, err)
	}
}

// clean makes nil and empty the same.
func clean(k message.Keys) message.Keys {
	for _, text := range []*[]byte{&k.Subject, &k.From, &k.To, &k.Cc, &k.FromName, &k.ToName} {
		*text = append([]byte{}, *text...)
	}
	k.References = append([]uint64{}, k.References...)
	return k
}

// TestSortReadsDigestFiles: SORT gives the same from digest files and from the log.
func TestSortReadsDigestFiles(t *testing.T) {
	options := testOptions(t)
	s := New(options)
	defer s.Close() //nolint:errcheck // only read
	a := mustOpen(t, s, t.TempDir(), owner)
	i := 0
	_, err := a.Append(context.Background(), "INBOX", func() (*mailbox.NewMessage, error) {
		if i++; i > 300 {
			return nil, io.EOF
		}
		text := mail(i * 7919 % 301)
		return &mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := a.Open(context.Background(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // never fails
	order := func() (mailbox.Sorted, []imap.ThreadMember) {
		all := &imap.SearchKey{Op: imap.SearchAll}
		sorted, err := m.Sort(context.Background(), []imap.SortKey{{Field: imap.SortSubject}}, all)
		if err != nil {
			t.Fatal(err)
		}
		threads, err := m.Thread(context.Background(), imap.ThreadReferences, all)
		if err != nil {
			t.Fatal(err)
		}
		return sorted, threads
	}
	wantSorted, wantThreads := order()
	a.background.Wait()
	if err := a.fold(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(a.digests) == 0 {
		t.Fatal("there is no digest file")
	}
	a.segs = nil // what is not in the digest file can't be read now
	sorted, threads := order()
	if !reflect.DeepEqual(sorted, wantSorted) || !reflect.DeepEqual(threads, wantThreads) {
		t.Error("the digest file gives another order than the log")
	}
}
