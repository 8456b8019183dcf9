package cluster

import "testing"

// The slots of users are the same for ever.
func TestSlotOf(t *testing.T) {
	template, err := ParseTemplate(defaultTemplate)
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]Slot{"alice": 11224, "bob": 438, "carol@example.com": 8404} {
		if got := SlotOf(template, user); got != want {
			t.Errorf("slot of %s: %d, want %d", user, got, want)
		}
	}
	if SlotOf(template, "Alice") != SlotOf(template, "alice") {
		t.Error("the template's lower case is not used")
	}
}

func TestUnitKeys(t *testing.T) {
	for _, u := range []Unit{{}, {Slot: 16383}, {Tag: "a", Slot: 7}, {User: "a/b@example.com"}} {
		if got, ok := parseUnit(u.key()); !ok || got != u {
			t.Errorf("%q: %+v, %v", u.key(), got, ok)
		}
	}
	for _, key := range []string{"held/16384", "held//16384", "held//x", "heldu/", "pins/a", "held/a/-1"} {
		if u, ok := parseUnit(key); ok {
			t.Errorf("%q: %+v", key, u)
		}
	}
}
