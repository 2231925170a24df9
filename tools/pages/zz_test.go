package pages
import ("testing";"time";"os")
func TestPast(t *testing.T) {
	w := newWorld(t)
	b := time.Now()
	w.past()
	t.Log(time.Since(b), w.dir)
	os.WriteFile("/tmp/pg-env", []byte(w.dir), 0o666)
	t.Log(w.firn("status"))
	t.Log(w.firn("snapshots"))
	t.Log(w.firn("snapshots", "--repo", "usb"))
	w.close()
}
