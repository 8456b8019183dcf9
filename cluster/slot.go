package cluster

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Slots is how many parts the users of a tag are divided into.
const Slots = 16384

// Slot is one of them.
type Slot uint16

// SlotOf is the slot of a user, by what the template makes of the name. It is the
// same for ever: Params keeps the template, and the number of this function.
func SlotOf(t Template, user string) Slot {
	sum := sha256.Sum256([]byte(t.Expand(user)))
	return Slot(binary.BigEndian.Uint16(sum[:]) % Slots)
}

// Unit is what a backend holds, wholly or not at all: a slot of the backends with
// one tag, or one pinned user.
type Unit struct {
	Tag  string
	Slot Slot
	User string // of a pinned user, whose Tag and Slot are empty; normalised
}

// Keys of the Coordinator. All of a cluster are below one prefix, which Coordinators
// add by themselves.
const (
	keyParams    = "params"
	keyBackends  = "backends/"  // NAME: Backend's own Registration
	keyWishes    = "wishes/"    // NAME: Wish of the administrator
	keyAlive     = "alive/"     // NAME: Alive, with the backend's lease
	keyLives     = "lives/"     // NAME: Life
	keyKeeper    = "keeper"     // KeeperRecord, with the director's lease
	keyDirectors = "directors/" // NAME: DirectorRecord, with the director's lease
	keyHeld      = "held/"      // TAG/SLOT: Held
	keyHeldUser  = "heldu/"     // USER: Held
	keyPins      = "pins/"      // USER: Pin
	keyAsks      = "asks/"      // USER: Ask, with the lease of the backend that asks
)

// key is the unit's key, under which Held says who holds it.
func (u Unit) key() string {
	if u.User != "" {
		return keyHeldUser + u.User
	}
	return fmt.Sprintf("%s%s/%05d", keyHeld, u.Tag, u.Slot)
}

// String is the unit as logs and operations name it.
func (u Unit) String() string {
	switch {
	case u.User != "":
		return "user " + u.User
	case u.Tag != "":
		return fmt.Sprintf("slot %d of tag %s", u.Slot, u.Tag)
	}
	return fmt.Sprintf("slot %d", u.Slot)
}

// parseUnit reads a unit's key.
func parseUnit(key string) (u Unit, ok bool) {
	if user, is := strings.CutPrefix(key, keyHeldUser); is {
		return Unit{User: user}, user != ""
	}
	rest, is := strings.CutPrefix(key, keyHeld)
	tag, digits, found := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(digits, 10, 16)
	return Unit{Tag: tag, Slot: Slot(n)}, is && found && err == nil && n < Slots
}
