package remote

import (
	"context"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
)

// metadataCommand runs a command of RFC 5464, if the peer knows them.
func (a *Account) metadataCommand(ctx context.Context, name string, f func(c *imapclient.Conn, peer string) error) error {
	meant := imap.CodeNonExistent // as Dovecot answers without a code
	if name == "" {
		meant = imap.CodeCannot
	}
	return refusal(a.control.do(ctx, true, func(c *imapclient.Conn) error {
		if !c.Has("METADATA") {
			return imap.Errorf(imap.CodeCannot, "Metadata are not available for this mailbox")
		}
		peer, err := a.control.toPeer(name)
		if err != nil {
			return err
		}
		return f(c, peer)
	}), meant)
}

// GetMetadata is what the peer says.
func (a *Account) GetMetadata(ctx context.Context, name string, q *imap.MetadataQuery) (imap.MetadataFound, error) {
	var found imap.MetadataFound
	err := a.metadataCommand(ctx, name, func(c *imapclient.Conn, peer string) error {
		found = imap.MetadataFound{}
		h := &imapclient.Handler{Metadata: func(d *imapclient.MetadataData) {
			for _, e := range d.Entries {
				if canonical, err := imap.CheckMetadataName(e.Name); err == nil && q.Matches(canonical) {
					found.Entries = append(found.Entries, imap.MetadataEntry{Name: canonical, Value: e.Value})
				}
			}
		}}
		status, err := c.Do(ctx, h, func(e *imapwire.Encoder) { writeMetadataQuery(e, peer, q) })
		if err == nil && status.Code == "METADATA" {
			if n, ok := strings.CutPrefix(status.Args, "LONGENTRIES "); ok {
				found.Longest, _ = strconv.ParseInt(n, 10, 64)
			}
		}
		return err
	})
	return found, err
}

func writeMetadataQuery(e *imapwire.Encoder, peer string, q *imap.MetadataQuery) {
	e.RawString("GETMETADATA ")
	var options []string
	if q.MaxSize >= 0 {
		options = append(options, "MAXSIZE "+strconv.FormatInt(q.MaxSize, 10))
	}
	switch q.Depth {
	case 0:
	case imap.MetadataDepthAll:
		options = append(options, "DEPTH infinity")
	default:
		options = append(options, "DEPTH "+strconv.Itoa(q.Depth))
	}
	if len(options) > 0 {
		e.RawString("(" + strings.Join(options, " ") + ") ")
	}
	e.Mailbox(peer).SP()
	sep := byte('(')
	for _, name := range q.Names {
		e.Special(sep).AString(name)
		sep = ' '
	}
	e.Special(')')
}

// SetMetadata sets them at the peer.
func (a *Account) SetMetadata(ctx context.Context, name string, entries []imap.MetadataEntry) error {
	if len(entries) == 0 {
		return nil
	}
	return a.metadataCommand(ctx, name, func(c *imapclient.Conn, peer string) error {
		_, err := c.Do(ctx, nil, func(e *imapwire.Encoder) {
			e.RawString("SETMETADATA ").Mailbox(peer).SP()
			sep := byte('(')
			for _, entry := range entries {
				e.Special(sep).AString(entry.Name).SP().Value(entry.Value)
				sep = ' '
			}
			e.Special(')')
		})
		return err
	})
}
