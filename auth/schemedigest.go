package auth

import (
	"bytes"
	"crypto/des"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 stored passwords of old systems are made with it
)

// digestSchemes is the rows of binary data.
func digestSchemes() []scheme {
	const salt = 4 // bytes, as Dovecot writes it
	cram := keyScheme("CRAM-MD5", 2*md5.Size, cramMD5)
	return []scheme{
		digestScheme("PLAIN-MD4", md4.New, 0, encodingHex),
		digestScheme("PLAIN-MD5", md5.New, 0, encodingHex),
		digestScheme("LDAP-MD5", md5.New, 0, encodingBase64),
		digestScheme("SHA", sha1.New, 0, encodingBase64),
		digestScheme("SHA1", sha1.New, 0, encodingBase64),
		digestScheme("SHA256", sha256.New, 0, encodingBase64),
		digestScheme("SHA512", sha512.New, 0, encodingBase64),
		digestScheme("SMD5", md5.New, salt, encodingBase64),
		digestScheme("SSHA", sha1.New, salt, encodingBase64),
		digestScheme("SSHA256", sha256.New, salt, encodingBase64),
		digestScheme("SSHA512", sha512.New, salt, encodingBase64),
		cram, named("HMAC-MD5", cram),
		keyScheme("DIGEST-MD5", md5.Size, digestMD5),
		keyScheme("NTLM", md4.Size, ntlm),
		keyScheme("LANMAN", 2*des.BlockSize, lanman),
		keyScheme("RPA", md5.Size, rpa),
	}
}

// keyScheme is a row of what a mechanism needs to know of a password, in hex.
func keyScheme(name string, size int, key func(guess) (string, error)) scheme {
	return scheme{
		name: name, encoding: encodingHex, size: size,
		match: func(h *hasher, data string, g guess) (bool, error) {
			if len(data) != size {
				return false, fmt.Errorf("%w: length of the key", errScheme)
			}
			have, err := key(g)
			return err == nil && h.equal(data, have), nil // what has no key matches nothing
		},
		make: func(g guess, _ int) (string, error) { return key(g) },
	}
}

// cramMD5 is the state of HMAC-MD5 after its two pads, the outer one first.
func cramMD5(g guess) (string, error) {
	var key [md5.BlockSize]byte
	if len(g.password) > len(key) {
		sum := md5.Sum([]byte(g.password))
		copy(key[:], sum[:])
	} else {
		copy(key[:], g.password)
	}
	var out []byte
	for _, pad := range []byte{0x5c, 0x36} {
		block := bytes.Repeat([]byte{pad}, len(key))
		for i := range block {
			block[i] ^= key[i]
		}
		digest := md5.New()
		digest.Write(block)
		state, err := digest.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			return "", err
		}
		for word := state[4:]; len(out)%md5.Size != 0 || len(word) > len(state)-8; word = word[4:] { // behind "md5\x01"
			out = binary.LittleEndian.AppendUint32(out, binary.BigEndian.Uint32(word))
		}
	}
	return string(out), nil
}

// digestMD5 is the secret of DIGEST-MD5: user, realm and password.
func digestMD5(g guess) (string, error) {
	if g.user == "" {
		return "", errors.New("DIGEST-MD5 needs the user's name")
	}
	user, realm, _ := strings.Cut(g.user, "@")
	sum := md5.Sum([]byte(user + ":" + realm + ":" + g.password))
	return string(sum[:]), nil
}

func ntlm(g guess) (string, error) {
	digest := md4.New()
	for _, unit := range utf16.Encode([]rune(g.password)) {
		digest.Write([]byte{byte(unit), byte(unit >> 8)})
	}
	return string(digest.Sum(nil)), nil
}

// lanman is the two halves of 14 bytes in upper case as DES keys.
func lanman(g guess) (string, error) {
	var password [14]byte
	copy(password[:], upperASCII(g.password))
	var out [2 * des.BlockSize]byte
	for i := range 2 {
		block, err := des.NewCipher(desKey(password[7*i:]))
		if err != nil {
			return "", err
		}
		block.Encrypt(out[8*i:], []byte("KGS!@#$%"))
	}
	return string(out[:]), nil
}

// desKey spreads 7 bytes over 8, each with a bit for the parity, which nobody checks.
func desKey(seven []byte) []byte {
	var bits [8]byte
	copy(bits[1:], seven[:7])
	n := binary.BigEndian.Uint64(bits[:])
	key := make([]byte, 8)
	for i := range key {
		key[i] = byte(n>>(49-7*i)) << 1
	}
	return key
}

func rpa(g guess) (string, error) {
	wide := make([]byte, 0, 2*len(g.password))
	for _, b := range []byte(g.password) {
		wide = append(wide, 0, b)
	}
	sum := md5.Sum(wide)
	return string(sum[:]), nil
}

// randomText is size random bytes.
func randomText(size int) string {
	b := make([]byte, size)
	rand.Read(b) // never fails, see crypto/rand
	return string(b)
}
