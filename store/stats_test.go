package store

import (
	"path/filepath"
	"testing"
)

// TestStats: what is open and what was done is counted, and a volume that is not
// mounted is told as such.
func TestStats(t *testing.T) {
	fs, s, a := full(t, 3)
	st := s.Stats()
	if st.Accounts != 1 || st.Lingering != 0 || st.Memory <= 0 || st.Files <= 0 || st.Commits.Count < 3 {
		t.Errorf("%+v", st)
	}
	root := s.options.Volumes[0]
	if v := s.Volumes(); len(v) != 1 || v[0].Err != nil || v[0].Free != 0 || !v[0].Ballast || len(v[0].ID) == 0 {
		t.Errorf("%+v", v)
	}
	fs.mu.Lock()
	fs.capacity += 1 << 20
	fs.mu.Unlock()
	if v := s.Volumes(); v[0].Free != 1<<20 {
		t.Errorf("%+v", v)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Accounts != st.Lingering {
		t.Errorf("nobody uses it: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove(filepath.Join(root, volumeMarker)); err != nil {
		t.Fatal(err)
	}
	if v := s.Volumes(); v[0].Err == nil {
		t.Error("a volume without marker seems to be there")
	}
}
