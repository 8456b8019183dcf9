package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// A message ID is kept as a number: a checksum of its normal form. Whoever could
// make two of one number could as well write the same ID twice.
type messageID = uint64

const (
	// maxMessageID is the longest message ID that is recognised, in bytes.
	maxMessageID = 1000
	// MaxReferences is how many references of one message are kept: the last.
	MaxReferences = 10000
)

// appendMessageIDs appends the message IDs in value, up to limit.
func appendMessageIDs(dst []messageID, value []byte, limit int) []messageID {
	var buf [128]byte
	for limit > 0 {
		id, rest := nextMessageID(buf[:0], value)
		if id == nil {
			break
		}
		dst = append(dst, hashMessageID(id))
		value = rest
		limit--
	}
	return dst
}

func hashMessageID(id []byte) messageID {
	sum := sha256.Sum256(id)
	return max(binary.LittleEndian.Uint64(sum[:]), 1) // 0 stands for none
}

// nextMessageID appends the next valid message ID of value to dst, without
// quotes and space, and returns what follows it. It returns nil if there is none.
// RFC 5256 section 3 (THREAD Command, note on message IDs), RFC 5322 section 3.6.4.
func nextMessageID(dst, value []byte) (id, rest []byte) {
	for {
		start := bytes.IndexByte(value, '<')
		if start < 0 {
			return nil, nil
		}
		value = value[start+1:]
		id, n := readMessageID(dst[:0], value[:min(len(value), maxMessageID)])
		if n > 0 {
			return id, value[n:]
		}
	}
}

// readMessageID reads the ID behind "<". Its length with ">" is 0 if it is not valid.
func readMessageID(dst, b []byte) (id []byte, n int) {
	at := -1 // of the last "@" in dst
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '>':
			if at <= 0 || at == len(dst)-1 {
				return nil, 0
			}
			return dst, i + 1
		case '<':
			return nil, 0
		case '"':
			quoted := quotedLen(b[i:])
			if quoted < 0 {
				return nil, 0
			}
			dst = appendUnescaped(dst, b[i+1:i+quoted-1])
			i += quoted - 1
		case ' ', '\t', '\r', '\n':
		default:
			if c == '@' {
				at = len(dst)
			}
			dst = append(dst, c)
		}
	}
	return nil, 0
}
