package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/mailbox"
)

// maxRanges bounds the set of one command: peers limit the length of a line.
const maxRanges = 1000

// maxHeld is how much of a message's sections is held in memory while what was
// asked for with them has not come. More goes into files, up to maxFiled.
const (
	maxHeld  = 256 << 10
	maxFiled = 1 << 30
)

// chunks cuts a set into what one command can name.
func chunks(uids imap.UIDSet) func(yield func(imap.UIDSet) bool) {
	return func(yield func(imap.UIDSet) bool) {
		for part := range slices.Chunk(uids, maxRanges) {
			if !yield(part) {
				return
			}
		}
	}
}

func (b *box) Fetch(ctx context.Context, uids imap.UIDSet, items *imap.FetchItems, emit func(*mailbox.Message) error) error {
	if err := b.usable(); err != nil || uids.Empty() {
		return err
	}
	if a := b.takeBegun(uids, items); a != nil {
		if done, err := b.await(ctx, a, emit); done {
			return err
		}
		// What broke off is asked for again, but not what was told.
		if uids = uids.Minus(imap.UIDRange(1, a.fetch.last)); uids.Empty() {
			return nil
		}
	}
	if flagsAlone(items) {
		return b.fetchFlags(ctx, uids, emit)
	}
	sub, err := b.substitute(ctx, items)
	if err != nil {
		return err
	}
	if sub != nil {
		items, emit = &sub.items, sub.telling(emit)
		defer sub.close()
	}
	f := newFetching(b, items, emit)
	f.ctx = ctx
	defer f.forget()
	for part := range chunks(uids) {
		err := b.do(ctx, true, func(c *imapclient.Conn) error {
			// What was told already is not asked for again on a new connection.
			rest := part.Minus(imap.UIDRange(1, f.last))
			if rest.Empty() {
				return nil
			}
			f.forget() // what has come of a message before the connection was lost
			f.want, f.conn = wanted(items, c), c
			if items.MarkSeen { // to say what has changed by it
				if err := b.learnAhead(ctx, c, rest, false, nil); err != nil {
					return err
				}
			}
			_, err := c.Do(ctx, f.handler(), func(e *imapwire.Encoder) { f.command(e, rest, b.modSeqs(c)) })
			if f.stopped != nil {
				return final{f.stopped}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if sub != nil {
		return sub.failed
	}
	return nil
}

// fetching is a FETCH under way. A message is told when all that was asked for
// has come; its last section, if that is what comes last, as a stream.
type fetching struct {
	box     *box
	ctx     context.Context  // of the Fetch
	conn    *imapclient.Conn // on which it was asked
	items   *imap.FetchItems
	emit    func(*mailbox.Message) error // nil while nobody has asked: what comes is dropped
	want    imapclient.Items
	names   []string // of the sections, as responses have them
	sizes   []string // likewise of BINARY.SIZE
	last    imap.UID // told last
	stopped error    // of emit

	// Of the message whose response is being read:
	message  mailbox.Message
	seq      imap.SeqNum
	told     bool
	sections []mailbox.SectionData
	arrived  []bool
	held     int64
	files    []*os.File
}

func newFetching(b *box, items *imap.FetchItems, emit func(*mailbox.Message) error) *fetching {
	f := &fetching{box: b, items: items, emit: emit}
	for i := range items.Sections {
		f.names = append(f.names, sectionName(&items.Sections[i], false))
	}
	for _, part := range items.BinarySizes {
		f.sizes = append(f.sizes, sizeName(part))
	}
	return f
}

func (f *fetching) handler() *imapclient.Handler {
	return &imapclient.Handler{Section: f.section, Fetch: f.done}
}

// wanted are the items without which a response is not the answer. One is
// always among them that no peer tells of by itself. What the peer does not know
// stays unknown.
func wanted(items *imap.FetchItems, c *imapclient.Conn) imapclient.Items {
	want := imapclient.ItemUID
	for _, i := range []struct {
		asked bool
		item  imapclient.Items
	}{
		{items.Flags || items.MarkSeen, imapclient.ItemFlags},
		{items.InternalDate, imapclient.ItemInternalDate},
		{items.Size, imapclient.ItemSize},
		{items.Envelope, imapclient.ItemEnvelope},
		{items.Body, imapclient.ItemBody},
		{items.BodyStructure, imapclient.ItemBodyStructure},
		{items.EmailID && c.Has("OBJECTID"), imapclient.ItemEmailID},
		{items.ThreadID && c.Has("OBJECTID"), imapclient.ItemThreadID},
		{items.SaveDate && c.Has("SAVEDATE"), imapclient.ItemSaveDate},
		{items.Preview, imapclient.ItemPreview},
	} {
		if i.asked {
			want |= i.item
		}
	}
	if want&^(imapclient.ItemUID|imapclient.ItemFlags) == 0 && len(items.Sections) == 0 {
		want |= imapclient.ItemInternalDate
	}
	return want
}

// command writes UID FETCH. Sections come last, so that they can stream.
func (f *fetching) command(e *imapwire.Encoder, uids imap.UIDSet, modSeq bool) {
	e.RawString("UID FETCH ").AppendFunc(uids.AppendTo).RawString(" (UID")
	for _, i := range []struct {
		item imapclient.Items
		name string
	}{
		{imapclient.ItemFlags, "FLAGS"},
		{imapclient.ItemInternalDate, "INTERNALDATE"},
		{imapclient.ItemSize, "RFC822.SIZE"},
		{imapclient.ItemEnvelope, "ENVELOPE"},
		{imapclient.ItemBody, "BODY"},
		{imapclient.ItemBodyStructure, "BODYSTRUCTURE"},
		{imapclient.ItemEmailID, "EMAILID"},
		{imapclient.ItemThreadID, "THREADID"},
		{imapclient.ItemSaveDate, "SAVEDATE"},
		{imapclient.ItemPreview, "PREVIEW"},
	} {
		if f.want&i.item != 0 {
			e.SP().RawString(i.name)
		}
	}
	if modSeq && (f.items.ModSeq || f.items.MarkSeen) {
		e.RawString(" MODSEQ")
	}
	if f.items.PreviewLazy && f.items.Preview {
		e.RawString(" (LAZY)")
	}
	for _, name := range f.sizes {
		e.SP().RawString(name)
	}
	for i := range f.items.Sections {
		name := sectionName(&f.items.Sections[i], true)
		if !f.items.MarkSeen {
			kind, section, _ := strings.Cut(name, "[")
			name = kind + ".PEEK[" + section
		}
		e.SP().RawString(name)
	}
	e.Special(')')
	if since := f.items.ChangedSince; since > 0 {
		e.RawString(" (CHANGEDSINCE ").Number64(uint64(since)).Special(')')
	}
}

// sectionName is BODY[...] or BINARY[...] in capitals. In a command a partial fetch has the
// count too.
func sectionName(s *imap.Section, command bool) string {
	var words []string
	for _, n := range s.Part {
		words = append(words, strconv.Itoa(n))
	}
	if kind := s.Kind.String(); kind != "" {
		words = append(words, kind)
	}
	name := "BODY["
	if s.Binary {
		name = "BINARY["
	}
	name += strings.Join(words, ".")
	if s.Kind == imap.SectionHeaderFields || s.Kind == imap.SectionHeaderFieldsNot {
		name += " (" + fieldNames(s.Fields, command) + ")"
	}
	name += "]"
	if s.Partial {
		name += "<" + strconv.FormatUint(s.Offset, 10)
		if command {
			name += "." + strconv.FormatUint(s.Count, 10)
		}
		name += ">"
	}
	return name
}

func sizeName(part []int) string {
	return "BINARY.SIZE" + strings.TrimPrefix(sectionName(&imap.Section{Part: part}, false), "BODY")
}

func fieldNames(fields []string, command bool) string {
	var out []byte
	for i, f := range fields {
		if i > 0 {
			out = append(out, ' ')
		}
		if command {
			out = imapwire.AppendAString(out, strings.ToUpper(f))
		} else {
			out = append(out, strings.ToUpper(f)...)
		}
	}
	return string(out)
}

// section takes a section as it comes.
func (f *fetching) section(m *imapclient.FetchData, s *imapclient.SectionData) error {
	f.begin(m.Seq)
	i := f.place(s.Name)
	if i < 0 || f.told || f.emit == nil {
		return nil
	}
	f.arrived[i] = true
	data := mailbox.SectionData{Missing: s.Missing, Size: s.Size, Body: s.Body}
	if f.complete(m) {
		data.Body = &resumed{fetch: f, uid: m.UID, section: &f.items.Sections[i], r: s.Body, size: s.Size}
		f.sections[i] = data
		return f.tell(m)
	}
	var err error
	data.Body, err = f.hold(s)
	f.sections[i] = data
	return err
}

// begin forgets the message before.
func (f *fetching) begin(seq imap.SeqNum) {
	if f.seq == seq {
		return
	}
	f.forget()
	f.seq = seq
}

func (f *fetching) forget() {
	for _, file := range f.files {
		_ = file.Close()
	}
	f.seq, f.told, f.held, f.files = 0, false, 0, nil
	f.sections = make([]mailbox.SectionData, len(f.names))
	f.arrived = make([]bool, len(f.names))
}

// place is which of the sections that were asked for has that name, or the
// first that is missing if the peer calls it otherwise.
func (f *fetching) place(name string) int {
	for i, n := range f.names {
		if !f.arrived[i] && n == name {
			return i
		}
	}
	return slices.Index(f.arrived, false)
}

func (f *fetching) complete(m *imapclient.FetchData) bool {
	return m.Has&f.want == f.want && len(m.BinarySizes) >= len(f.sizes) && !slices.Contains(f.arrived, false)
}

// hold keeps a section until the rest has come.
func (f *fetching) hold(s *imapclient.SectionData) (io.Reader, error) {
	if s.Size > maxFiled-f.held { // whatever size the peer makes up
		return nil, errors.New("hold a section: too big")
	}
	if f.held += s.Size; f.held <= maxHeld {
		body, err := io.ReadAll(s.Body)
		return bytes.NewReader(body), err
	}
	file, err := spool(s.Body)
	if err != nil {
		return nil, err
	}
	f.files = append(f.files, file)
	return file, nil
}

// spool copies r into a nameless file, and goes back to its start.
func spool(r io.Reader) (*os.File, error) {
	file, err := os.CreateTemp("", "roost-section-*")
	if err != nil {
		return nil, fmt.Errorf("hold a section: %w", err)
	}
	err = os.Remove(file.Name())
	if err == nil {
		_, err = io.Copy(file, r)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("hold a section: %w", err)
	}
	return file, nil
}

// done is called at the end of each FETCH response, also of those that the
// peer sends by itself.
func (f *fetching) done(m *imapclient.FetchData) error {
	f.begin(m.Seq)
	defer f.forget()
	if !f.told && f.emit != nil && f.complete(m) {
		return f.tell(m)
	}
	if !f.told {
		f.box.event(func(s *state) { s.note(m, false) })
	}
	return nil
}

// binarySizes are the sizes in the order in which they were asked for.
func (f *fetching) binarySizes(m *imapclient.FetchData) []int64 {
	var sizes []int64
	for _, name := range f.sizes {
		i := slices.IndexFunc(m.BinarySizes, func(s imapclient.BinarySize) bool { return s.Name == name })
		if i < 0 {
			sizes = append(sizes, 0)
			continue
		}
		sizes = append(sizes, m.BinarySizes[i].Size)
	}
	return sizes
}

// tell gives a complete message to emit.
func (f *fetching) tell(m *imapclient.FetchData) error {
	f.told = true
	if m.UID <= f.last {
		return nil // told before; a peer may answer twice
	}
	f.last = m.UID
	f.message = mailbox.Message{
		UID: m.UID, InternalDate: m.InternalDate, Size: m.Size,
		Envelope: m.Envelope, Body: m.Body, BodyStructure: m.BodyStructure, Sections: f.sections,
		EmailID: m.EmailID, ThreadID: m.ThreadID, SaveDate: m.SaveDate, Preview: m.Preview, HasPreview: m.HasPreview,
		BinarySizes: f.binarySizes(m),
	}
	out := &f.message
	if m.Has&(imapclient.ItemFlags|imapclient.ItemModSeq) != 0 {
		f.box.event(func(s *state) {
			out.FlagsChanged = f.items.MarkSeen && s.newlySeen(m)
			s.note(m, out.FlagsChanged)
		})
	}
	if m.Has&imapclient.ItemFlags != 0 {
		out.Flags = withoutRecent(m.Flags)
	}
	out.ModSeq = m.ModSeq
	f.stopped = f.emit(out)
	return f.stopped
}
