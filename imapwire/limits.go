package imapwire

import "errors"

// Limits bound what a peer can make us hold or read. A field that is zero has
// the default named beside it.
type Limits struct {
	// Line is the most bytes of one command or response, without the contents
	// of its literals. 64 KiB.
	Line int

	// Literal is the most bytes of one literal that is read into memory, as an
	// argument or inside a RawValue. A LiteralReader is not bound by it. 128 KiB.
	Literal int64

	// Held is the most bytes that the literals in memory of one line may have
	// together. Eight times Literal.
	Held int64

	// Depth is the deepest nesting of lists. 50.
	Depth int

	// ListItems is the most items of one list. 100,000.
	ListItems int

	// Drain is the most bytes that a line may have which is skipped, with the
	// literals that SkipLine drops; a connection that would need more has to
	// be closed. It should be above Line. 64 MiB.
	Drain int64
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Line, 64<<10)
	setDefault(&l.Literal, 128<<10)
	setDefault(&l.Held, 8*l.Literal)
	setDefault(&l.Depth, 50)
	setDefault(&l.ListItems, 100_000)
	setDefault(&l.Drain, 64<<20)
	return l
}

func setDefault[T int | int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// ErrTooLong is inside every error that comes from Limits. From Err it comes
// wrapped in an imap.Error: SkipLine brings such a line to its end. From
// SkipLine itself it says that the rest is more than Limits.Drain, and the
// connection cannot go on.
var ErrTooLong = errors.New("over the limit of the protocol reader")

// ErrLiteralOpen is a mistake of the caller: parsing went on while a literal
// was neither read to its end nor skipped.
var ErrLiteralOpen = errors.New("literal is not read to its end")

// ErrNotAccepted is a mistake of the caller: a synchronising literal was read
// before LiteralReader.Accept asked the client to send it.
var ErrNotAccepted = errors.New("literal is not accepted")
