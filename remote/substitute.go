package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
	mime "github.com/roost-mail/roost/message"
)

// maxPreviewed is how much of a message is fetched to make a preview of it.
const maxPreviewed = 64 << 10

// maxMIME bounds a part's header that is looked at for its encoding.
const maxMIME = 64 << 10

// substitute is a FETCH that a peer knows in place of one that it does not:
// what BINARY and PREVIEW would tell is made here of sections. It belongs to
// one Fetch.
type substitute struct {
	items   imap.FetchItems // to ask for
	asked   *imap.FetchItems
	places  []int // of asked.Sections in items.Sections; of a header that the part follows if decode
	decode  []bool
	sizes   []int // of asked.BinarySizes, likewise
	preview int   // of the message's beginning, or -1
	matcher mime.Matcher
	files   []*os.File // of the present message
	failed  error      // UNKNOWN-CTE, to be told when all others were
}

// substitute is nil if the peer knows all that is asked for.
func (b *box) substitute(ctx context.Context, items *imap.FetchItems) (sub *substitute, err error) {
	if !needsExtensions(items) {
		return nil, nil
	}
	err = b.do(ctx, true, func(c *imapclient.Conn) error {
		sub = substituteFor(items, c)
		return nil
	})
	return sub, err
}

// needsExtensions reports whether items ask for more than every peer knows.
func needsExtensions(items *imap.FetchItems) bool {
	return len(items.BinarySizes) > 0 || items.Preview ||
		slices.ContainsFunc(items.Sections, func(s imap.Section) bool { return s.Binary })
}

func substituteFor(items *imap.FetchItems, c *imapclient.Conn) *substitute {
	binary, whole, preview := len(items.BinarySizes) > 0, false, items.Preview
	for i := range items.Sections {
		binary = binary || items.Sections[i].Binary
		whole = whole || items.Sections[i].Binary && len(items.Sections[i].Part) == 0
	}
	// Of other servers' BINARY[], some is not the message as it stands.
	binary = binary && !c.Has("BINARY") || whole && !c.Has(imapwire.AppendEmailID)
	preview = preview && !c.Has("PREVIEW")
	if !binary && !preview {
		return nil
	}
	return newSubstitute(items, binary, preview)
}

func newSubstitute(items *imap.FetchItems, binary, preview bool) *substitute {
	s := &substitute{asked: items, items: *items, preview: -1}
	s.items.Sections = nil
	if preview {
		s.items.Preview = false
		if !items.PreviewLazy {
			s.preview = s.add(imap.Section{Partial: true, Count: maxPreviewed})
		}
	}
	if binary {
		s.items.BinarySizes = nil
		for _, part := range items.BinarySizes {
			s.sizes = append(s.sizes, s.addPart(part))
		}
	}
	for i := range items.Sections {
		sec := items.Sections[i]
		decode := binary && sec.Binary && len(sec.Part) > 0
		sec.Binary = sec.Binary && !binary
		s.decode = append(s.decode, decode)
		if decode {
			s.places = append(s.places, s.addPart(sec.Part))
			continue
		}
		s.places = append(s.places, s.add(sec))
	}
	return s
}

func (s *substitute) add(sec imap.Section) int {
	s.items.Sections = append(s.items.Sections, sec)
	return len(s.items.Sections) - 1
}

// addPart asks for a part and, ahead of it, the header that tells its encoding.
// The message itself has none, whatever its header says.
func (s *substitute) addPart(part []int) int {
	header := imap.Section{Part: part, Kind: imap.SectionMIME}
	if len(part) == 0 {
		header = imap.Section{Kind: imap.SectionText, Partial: true, Count: 1}
	}
	at := s.add(header)
	s.add(imap.Section{Part: part})
	return at
}

// telling makes of each message that comes the one that was asked for.
func (s *substitute) telling(emit func(*mailbox.Message) error) func(*mailbox.Message) error {
	return func(m *mailbox.Message) error {
		defer s.close()
		out := *m
		err := s.fill(&out, m.Sections)
		if imap.CodeOf(err) == imap.CodeUnknownCTE {
			s.failed = err
			return nil
		}
		if err != nil {
			return err
		}
		return emit(&out)
	}
}

func (s *substitute) fill(out *mailbox.Message, came []mailbox.SectionData) error {
	if s.preview >= 0 {
		if err := s.makePreview(out, &came[s.preview]); err != nil {
			return err
		}
	}
	for _, at := range s.sizes {
		data, err := s.decoded(came[at:], &imap.Section{})
		if err != nil {
			return err
		}
		out.BinarySizes = append(out.BinarySizes, data.Size)
	}
	out.Sections = nil
	for i, at := range s.places {
		data := came[at]
		if s.decode[i] {
			var err error
			if data, err = s.decoded(came[at:], &s.asked.Sections[i]); err != nil {
				return err
			}
		}
		out.Sections = append(out.Sections, data)
	}
	return nil
}

func (s *substitute) makePreview(out *mailbox.Message, beginning *mailbox.SectionData) error {
	if beginning.Missing {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(beginning.Body, maxPreviewed))
	if err == nil {
		out.Preview, err = s.matcher.Preview(bytes.NewReader(raw), mime.ScanBytes(raw), mailbox.MaxPreview)
	}
	out.HasPreview = err == nil
	return err
}

// decoded takes the transfer encoding off the part that follows its header.
func (s *substitute) decoded(came []mailbox.SectionData, sec *imap.Section) (mailbox.SectionData, error) {
	header, part := came[0], came[1]
	if part.Missing {
		return mailbox.SectionData{Missing: true}, nil
	}
	var head []byte
	if !header.Missing {
		var err error
		if head, err = io.ReadAll(io.LimitReader(header.Body, maxMIME)); err != nil {
			return mailbox.SectionData{}, err
		}
	}
	body, ok := part.Body.(io.ReaderAt)
	if !ok {
		file, err := spool(io.LimitReader(part.Body, part.Size))
		if err != nil {
			return mailbox.SectionData{}, err
		}
		s.files = append(s.files, file)
		body = file
	}
	from, count := int64(0), part.Size
	if sec.Partial {
		from, count = int64(sec.Offset), int64(sec.Count)
	}
	n, r, err := mime.ScanBytes(head).ContentAs(part.Size).Range(body, from, count)
	if errors.Is(err, mime.ErrUnknownEncoding) {
		err = imap.Wrap(imap.CodeUnknownCTE, "Content-Transfer-Encoding is unknown", err)
	}
	return mailbox.SectionData{Size: n, Body: r}, err
}

// close lets go of what the present message took.
func (s *substitute) close() {
	for _, file := range s.files {
		_ = file.Close()
	}
	s.files = nil
}
