package cli

import (
	"fmt"

	"firn/internal/cost"
	"firn/internal/units"
)

// forecastSVG draws the months ahead: a column for each, or for a few where there are many, of storage and requests.
func forecastSVG(p *costPicture) []byte {
	months := p.stay.Forecast
	growth := "no growth known"
	if g := p.outlook.Growth; g.Backups > 0 {
		growth = fmt.Sprintf("%v more a day, everything kept", units.Size(g.Bytes))
	}
	c := cost.Picture(p.region, months)
	c.Alone, c.Width, c.Height = true, 760, 420
	c.Title = fmt.Sprintf("Cost of the next %s: %s", counted(int64(len(months)), "month"), p.region.Format(cost.Sum(months)))
	c.Desc = fmt.Sprintf("%s, prices of %s; %s", p.region.Key(), p.region.Date, growth)
	return c.SVG()
}
