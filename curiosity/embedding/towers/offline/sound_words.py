"""What a sound can be, in the words with which subtitles put it: "dog barking", "water running". Imports no torch.

Written by hand: people, animals, instruments, machines, nature, things that are hit or rubbed. The list knows no data
set. Changing it changes what checkpoints mean, so its digest is part of theirs.
"""

_TEXT = """
applause, audience cheering, baby crying, baby laughing, bagpipes, ball bouncing, banging, banjo, barking,
bass drum, bass guitar, beating, bee buzzing, beeping, bell ringing, bells chiming, bird calling, bird singing,
birds chirping, bleating, blowing, boat horn, boiling, boom, bottle opening, bowl ringing, breathing, brushing,
bubbling, burping, buzzing, camera clicking, car engine, car horn, cash register, cat meowing, cat purring,
cattle mooing, cello, chainsaw, cheering, chewing, chicken clucking, child shouting, children playing, chime,
chirping, choir singing, chopping, church bell, clapping, clarinet, clattering, clicking, clock ticking,
coin dropping, coughing, cow mooing, cracking, crackling, crashing, creaking, cricket chirping, crow cawing,
crowd cheering, crying, cutting, cymbal, deep rumble, digging, dog barking, dog growling, dog howling,
dolphin clicking, donkey braying, door closing, door knocking, door opening, dramatic music, drilling, drinking,
dripping, drum beating, drum roll, drums, duck quacking, eating, electric guitar, electronic beep,
elephant trumpeting, engine running, explosion, fan whirring, farting, fire crackling, fireworks, flapping,
flushing, flute, fly buzzing, footsteps, fox barking, frog croaking, gasping, gentle music, glass breaking,
glass clinking, goat bleating, gong, goose honking, grinding, groaning, growling, grunting, guitar strumming,
gulping, gunshot, hammering, harmonica, harp, heartbeat, helicopter, hen clucking, hissing, hitting, honking,
hooting, horn honking, horse galloping, horse neighing, howling, humming, insects buzzing, jingling,
keyboard typing, keys jangling, kicking, knocking, laughing, leaves rustling, light music, lion roaring,
liquid pouring, loud bang, machine whirring, mallet striking, maracas, marching, meowing, metal clanging,
metallic scraping, monkey screeching, mooing, motor running, mouse squeaking, mumbling, music, neighing, noise,
oboe, ocean waves, oinking, orchestra playing, organ, owl hooting, panting, paper rustling, parrot squawking,
phone ringing, piano playing, pig grunting, plucking, popping, pouring, purring, quacking, rain falling, rattling,
record scratching, ringing, ripping, roaring, rooster crowing, rubbing, rumbling, running, rustling, sawing,
saxophone, scissors cutting, scraping, scratching, screaming, screeching, sea lion barking, seagull calling,
shaking, sheep bleating, shouting, shutter clicking, sighing, singing, siren wailing, sizzling, slamming, slapping,
slurping, smacking, snake hissing, snapping, snare drum, sneezing, sniffing, snoring, snorting, soft music,
speaking, splashing, spraying, squawking, squeaking, squealing, static, steam hissing, stomping, sucking,
swallowing, sweeping, swishing, tambourine, tapping, tearing, telephone ringing, thudding, thumping,
thunder rumbling, ticking, tiger roaring, timer ringing, toilet flushing, tool drilling, train whistle,
triangle ringing, trombone, trumpet, tuba, turkey gobbling, typing, upbeat music, vacuum cleaner, vehicle passing,
vibrating, vinyl crackling, violin playing, wailing, walking, washing machine, water dripping, water running,
waves crashing, whale singing, wheezing, whimpering, whining, whip cracking, whirring, whispering, whistling,
whooshing, wind blowing, wings flapping, wolf howling, woman singing, wood cracking, wood knocking,
woodpecker tapping, xylophone, yawning, yelling, yelping, zapping, zipper
"""

SOUND_WORDS: tuple[str, ...] = tuple(" ".join(_TEXT.split()).split(", "))
"""Names of sounds, sorted."""
