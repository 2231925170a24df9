package wizard

import (
	"html/template"
	"os"
	"path/filepath"
	"strconv"

	"firn/internal/price"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/thaw"
	"firn/internal/units"
	"firn/internal/web"
)

const folderType = "dir"

// functions are what the templates of these pages call besides those that all pages have.
func functions() template.FuncMap {
	return template.FuncMap{
		"where": func(base, snapshot, to, target, overwrite, button string) map[string]string {
			return map[string]string{"Base": base, "Snapshot": snapshot, "To": to, "Target": target, "Overwrite": overwrite, "Button": button}
		},
		"records": func(caption, base string, all []*shownRecord) map[string]any {
			return map[string]any{"Caption": caption, "Base": base, "Records": all}
		},
		"offered": func(base, token string, d *planPage, o offer) map[string]any {
			return map[string]any{"Base": base, "Token": token, "D": d, "P": d.Plan, "O": o, "Label": d.label(&o)}
		},
		"free":      func() offer { return offer{Limit: "0"} },
		"whole":     func(f float64) int64 { return int64(f) },
		"amount":    func(v float64, currency string) string { return price.Money(v).In(currency) },
		"copyState": copyState,
	}
}

// copyState says how cold packs are.
func copyState(g thaw.Group) string {
	switch g.Copy {
	case store.Thawed:
		return "thawed"
	case store.Thawing:
		return "being thawed"
	}
	return "has to be thawed"
}

// label is what stands on the button of an offer.
func (d *planPage) label(o *offer) string {
	verb := map[string]string{toFolder: "Restore", toTar: "Write the archive", toDownload: "Download"}[d.Goal.To]
	switch {
	case d.Plan.Cold && d.Goal.To != toFolder:
		verb = "Thaw"
	case len(d.Plan.Offers) == 0 || o.Total == 0 && o.Limit != "":
		return verb
	}
	if o.Limit == "" && d.Plan.Region == nil {
		return verb + ", whatever it costs"
	}
	if len(o.Unknown) > 0 {
		return verb + " for " + d.Plan.Region.Format(o.Total) + " and what is not known"
	}
	return verb + " for " + d.Plan.Region.Format(o.Total)
}

// proposed is a target that is likely to be wanted, and surely free of other things.
func proposed(it *snapshot.Item) string {
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return ""
	}
	return filepath.Join(home, "restored-"+it.Start.UTC().Format("2006-01-02")+"-"+it.ID.String()[:8])
}

func sizeText(n int64) string { return units.Size(n).String() }

// amountText is an amount of a form, in its currency.
func amountText(text, currency string) string {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	return price.Money(v).In(currency)
}

// page parses one of the pages.
func page(name string) *template.Template {
	t := web.Template(files, "state.html")
	return template.Must(t.Funcs(functions()).ParseFS(files, "parts.html", name))
}
