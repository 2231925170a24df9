package keys

import "strings"

// kitWords are the words that check the groups of a printed root key: short, with different first four letters, none of hex digits only. Their order is part
// of what was printed and never changes.
var kitWords = strings.Fields(`
	acorn actor admiral agent alarm album almond amber anchor angle ankle apple apron arcade archer artist aspen atlas
	attic autumn avenue baker balcony bamboo banjo barley basket beacon beaver beetle berry bishop bison blanket blossom
	bottle boulder bracket branch bread bridge bronze brush bucket butter cabin cactus camel candle canoe canyon captain
	carbon carpet castle cedar cellar chapel cherry chimney cinema circus citrus clover cobalt coffee comet copper coral
	cotton cradle crater cricket crystal curtain cushion dagger daisy dancer delta desert diamond dinner doctor dolphin
	domino donkey dragon drummer eagle early earth easel echo elbow elder elephant emerald engine envelope evening
	falcon farmer feather fender ferry fiddle finger flannel flower flute forest fossil fountain fox frost galaxy garden
	garlic geyser ginger giraffe glacier globe goblet golden gondola gravel guitar gypsum hammer harbor harvest hazel
	helmet heron hockey honey horizon hotel humble hunter iceberg igloo indigo insect iris iron island ivory ivy jacket
	jaguar jasmine jelly jewel jigsaw jungle juniper jury kayak kernel kettle kidney kitchen kite knight koala ladder
	lagoon lantern laurel lemon leopard library lily linen lizard lobster locket lotus lumber lunar magnet mango maple
	marble market meadow melon mercury mineral mirror monkey mosaic motor mountain muffin museum mustard napkin nectar
	needle nickel night noodle north nugget nutmeg oasis ocean octopus olive onion opera orange orbit orchid otter
	oxygen oyster paddle palace panther paper parrot pebble pelican pencil pepper piano pigeon pillow pilot planet plum
	pocket polar pony poppy prism puddle pumpkin puzzle pyramid quarry queen quiver rabbit radar radish raven ribbon
	river robin rocket
`)
