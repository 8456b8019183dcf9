package adminhttp

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// Tokens are who may call the API over the network. They are read from a file of
// lines
//
//	NAME SHA256 read|operate
//
// where SHA256 is the token's hash in hex: tokens are random, so that no slow hash is
// needed, and the file alone lets nobody in. Empty lines and those that begin with #
// are passed over. Tokens are immutable.
type Tokens struct {
	entries []entry
}

type entry struct {
	name    string
	hash    [sha256.Size]byte
	operate bool
}

// Limits of a file of tokens.
const (
	maxTokens     = 1000
	maxTokenLine  = 512
	maxTokenBytes = 256 // of a token that a client shows
)

// ParseTokens reads a file of tokens.
func ParseTokens(r io.Reader) (*Tokens, error) {
	t := &Tokens{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxTokenLine)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		e, err := parseEntry(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if t.entries = append(t.entries, e); len(t.entries) > maxTokens {
			return nil, fmt.Errorf("more than %d tokens", maxTokens)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

func parseEntry(words []string) (e entry, err error) {
	if len(words) != 3 {
		return e, fmt.Errorf("NAME SHA256 read or operate, as roost token prints it")
	}
	hash, err := hex.DecodeString(words[1])
	if err != nil || len(hash) != len(e.hash) {
		return e, fmt.Errorf("the hash of token %q is not %d bytes in hex", words[0], len(e.hash))
	}
	e.name, e.hash = words[0], [sha256.Size]byte(hash)
	switch words[2] {
	case "read":
	case "operate":
		e.operate = true
	default:
		return e, fmt.Errorf("token %q may %q: neither read nor operate", words[0], words[2])
	}
	return e, nil
}

// find is whose token it is. All are compared, each in constant time.
func (t *Tokens) find(token string) (e entry, ok bool) {
	if t == nil || len(token) > maxTokenBytes {
		return e, false
	}
	hash := sha256.Sum256([]byte(token))
	for _, each := range t.entries {
		if subtle.ConstantTimeCompare(hash[:], each.hash[:]) == 1 {
			e, ok = each, true
		}
	}
	return e, ok
}

// NewToken makes a token and its line for the file.
func NewToken(name string, operate bool) (token, line string) {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // it never fails
	token = base64.RawURLEncoding.EncodeToString(secret[:])
	right := "read"
	if operate {
		right = "operate"
	}
	hash := sha256.Sum256([]byte(token))
	return token, fmt.Sprintf("%s %s %s", name, hex.EncodeToString(hash[:]), right)
}
