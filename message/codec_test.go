package message

import (
	"bytes"
	"reflect"
	"testing"
)

func TestDigestCodec(t *testing.T) {
	var reused Digest
	for name, msg := range fixtures(t) {
		d := ScanBytes(msg)
		b := d.Append([]byte("prefix"))[len("prefix"):]
		got, err := decodeDigest(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !sameDigest(got, d) {
			t.Errorf("%s: decoded digest differs", name)
		}
		if err := reused.Decode(b); err != nil || !sameDigest(&reused, d) {
			t.Errorf("%s: digest decoded into a used one differs: %v", name, err)
		}
		older := len(b) - len(appendBytes(nil, d.EncodedKeys))
		for n := range b {
			if _, err := decodeDigest(b[:n]); err == nil && n != older {
				t.Errorf("%s: the first %d of %d bytes are decoded", name, n, len(b))
			}
		}
		if got, err := decodeDigest(b[:older]); err != nil || got.Keys(new(Keys)) || !bytes.Equal(got.Envelope, d.Envelope) {
			t.Errorf("%s: a digest without keys is not decoded: %v", name, err)
		}
		if _, err := decodeDigest(append(b, 0)); err == nil {
			t.Errorf("%s: a byte too much is decoded", name)
		}
	}
}

// sameDigest compares digests; nil and empty bytes are the same.
func sameDigest(a, b *Digest) bool {
	if len(a.Parts) != len(b.Parts) || a.Size != b.Size || a.SentDate != b.SentDate ||
		!bytes.Equal(a.Envelope, b.Envelope) || !bytes.Equal(a.EncodedKeys, b.EncodedKeys) || !bytes.Equal(a.BodyStructure, b.BodyStructure) {
		return false
	}
	for i := range a.Parts {
		p, q := a.Parts[i], b.Parts[i]
		if !bytes.Equal(p.Type, q.Type) || !bytes.Equal(p.Charset, q.Charset) {
			return false
		}
		p.Type, p.Charset, q.Type, q.Charset = nil, nil, nil, nil
		if !reflect.DeepEqual(p, q) {
			return false
		}
	}
	return true
}

func TestDecodeDigestRefuses(t *testing.T) {
	leaf := []byte{0, 0, 0, 2, 3, 0, 0, 0} // 2 bytes header, 3 bytes body
	tests := []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"a leaf", append([]byte{1, 5, 0, 0, 0, 1}, leaf...), true},
		{"nothing", nil, false},
		{"another version", append([]byte{2, 5, 0, 0, 0, 1}, leaf...), false},
		{"no part", []byte{1, 5, 0, 0, 0, 0}, false},
		{"a part longer than the message", append([]byte{1, 4, 0, 0, 0, 1}, leaf...), false},
		{"a leaf with a child", []byte{1, 5, 0, 0, 0, 2, 0, 1, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, false},
		{"a multipart without a child", []byte{1, 5, 0, 0, 0, 1, 1 << 4, 0, 0, 2, 3, 0, 0, 0}, false},
		{"a multipart with a child", []byte{1, 5, 0, 0, 0, 2, 1 << 4, 1, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, true},
		{"a child outside", []byte{1, 5, 0, 0, 0, 2, 1 << 4, 1, 0, 2, 3, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0}, false},
		{"two roots", append(append([]byte{1, 5, 0, 0, 0, 2}, leaf...), leaf...), false},
		{"an unknown kind", []byte{1, 5, 0, 0, 0, 1, 3 << 4, 0, 0, 2, 3, 0, 0, 0}, false},
		{"an unknown encoding", []byte{1, 5, 0, 0, 0, 1, 4, 0, 0, 2, 3, 0, 0, 0}, false},
		{"bytes that are not there", []byte{1, 5, 0, 0xff, 0xff, 0xff, 0x7f}, false},
	}
	for _, tt := range tests {
		if _, err := decodeDigest(tt.b); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
